"""Tenants, and their limits on every call: estimated and reserved before, settled after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from sentinella_plugins.kernel.access import TENANT_ID, Recent, may_use
from sentinella_plugins.kernel.call import Answered, Call, Estimate, Outcome, Principal
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import (
    Conflict,
    LimitExceeded,
    ModelForbidden,
    ModelNotFound,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from sentinella_plugins.kernel.events import Events, LimitReached, PartFailed, TenantDeleted
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.kernel.standing import Standing
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.protocols import Claim, Counters, Reservation
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tenancy.estimate import is_auto
from sentinella_plugins.tenancy.estimator import Estimator
from sentinella_plugins.tenancy.keeper import Keeper
from sentinella_plugins.tenancy.limits import Spec, Use, claims, last_to_reset, standing
from sentinella_plugins.tenancy.models import DEFAULT, Held, NewTenant, Tenant, TenantPage, TenantPatch
from sentinella_plugins.tenancy.refusals import OncePerSecond, Refusal, Refusals, exceeded
from sentinella_plugins.tenancy.store import TenantStore

UNCOUNTED = Standing()
_NOTHING = Estimate(prompt_tokens=0, completion_tokens=0, cost=Nano(0))


class TenancyService:
    def __init__(
        self,
        database: Database,
        counters: Counters,
        catalogue: Catalogue,
        events: Events,
        clock: Clock,
        config: TenancyConfig,
    ) -> None:
        self._store = TenantStore(database)
        self._counters = counters
        self._catalogue = catalogue
        self._events = events
        self._clock = clock
        self._config = config
        self._tenants: Recent[str, Tenant] = Recent(
            self._store.find, clock, ttl_s=config.cache_ttl_s, size=config.cache_size
        )
        self._estimator = Estimator(catalogue, config)
        self._refusals = Refusals(clock, config.refusal_memo_s)
        self._keeper = Keeper(counters, self._refusals, events, clock, config)
        self._seldom = OncePerSecond(clock)

    async def open(self) -> None:
        """Makes the built-in tenant if it is missing."""
        with suppress(Conflict):
            await self.create(NewTenant(id=DEFAULT))

    async def run(self) -> None:
        """Heartbeat and clearing up, until cancelled."""
        await self._keeper.run()

    async def tenant(self, tenant_id: str) -> Tenant:
        """At most `cache_ttl_s` old. `NotFound` when there is none."""
        tenant = await self._tenants.get(tenant_id) if TENANT_ID.fullmatch(tenant_id) else None
        if tenant is None:
            raise NotFound("There is no such tenant.")
        return tenant

    async def page(self, *, limit: int = 20, after: str | None = None) -> TenantPage:
        found = await self._store.page(limit + 1, after)
        return TenantPage(data=tuple(found[:limit]), has_more=len(found) > limit)

    async def create(self, new: NewTenant) -> Tenant:
        tenant = Tenant(**{**dict(new), "name": new.name or new.id}, created_at=int(self._clock.now()))
        await self._store.add(tenant)
        self._forget(tenant.id)
        return tenant

    async def change(self, tenant_id: str, patch: TenantPatch) -> Tenant:
        tenant = await self._store.change(_checked(tenant_id), patch, self._clock.now())
        self._forget(tenant_id)
        return tenant

    async def delete(self, tenant_id: str) -> None:
        if tenant_id == DEFAULT:
            raise Conflict("The built-in tenant `default` cannot be deleted.")
        await self._store.remove(_checked(tenant_id))
        self._forget(tenant_id)
        await self._events.publish(TenantDeleted(at=self._clock.now(), tenant=tenant_id))

    async def reserve(self, call: Call) -> Call:
        """The call with its `Held` and `Standing`, or a refusal. What is not limited is not counted."""
        try:
            tenant = await self._tenant_of(call.principal.tenant)
            self._check_model(call, tenant.models)
            if tenant.limits.unlimited and call.principal.limits.unlimited:
                return call.with_note(UNCOUNTED)
            return await self._reserve(call, tenant)
        except Unavailable as error:
            if self._config.on_failure == "closed":
                raise
            self._check_model(call, None)
            await self._report(call, error)
            return call.with_note(UNCOUNTED)

    async def glance(self, call: Call) -> None:
        """Turns away, before any work is done for it, a call that meets a refusal of a moment ago."""
        with suppress(Unavailable):
            tenant = await self._tenant_of(call.principal.tenant)
            now = self._clock.now()
            if (known := self._refusals.known(self._limits(call, tenant), now)) is not None:
                raise await self._refused(call, known, now)

    async def settle(self, call: Call, outcome: Outcome) -> None:
        """What was used takes the place of what was reserved; a call that used nothing gives all back."""
        held = call.note(Held)
        if outcome.status == "success" and not outcome.cached:
            self._estimator.learn(call, outcome, asked=held.model if held else outcome.model)
        if held is not None:
            await self._keeper.settle(held.id, _actual(held, outcome))
            self._refusals.forget(*_scopes(call.principal))

    async def _tenant_of(self, tenant_id: str) -> Tenant:
        try:
            tenant = await self._tenants.get(tenant_id)
        except Unavailable:
            tenant = self._tenants.last(tenant_id) if self._config.on_failure == "open" else None
            if tenant is None:
                raise
        if tenant is None:
            raise Unauthenticated("The tenant of this API key does not exist any more.")
        return tenant

    def _check_model(self, call: Call, tenant_models: Sequence[str] | None) -> None:
        if is_auto(call.model):
            return
        if not may_use(call.principal.models, tenant_models, call.model):
            raise ModelForbidden(f"This key may not use the model `{call.model}`.", param="model")
        if self._catalogue.find(call.model) is None:
            raise ModelNotFound(f"There is no model `{call.model}` here.", param="model")

    async def _reserve(self, call: Call, tenant: Tenant) -> Call:
        scopes = self._limits(call, tenant)
        now = self._clock.now()
        if (known := self._refusals.known(scopes, now)) is not None:
            raise await self._refused(call, known, now)
        answered = call.note(Answered) is not None
        estimate = None if answered else await self._estimator.estimate(call, tenant)
        now = self._clock.now()
        wanted = [
            pair
            for scope, limits in scopes.items()
            for pair in claims(scope, limits, estimate or _NOTHING, now)
            if not (answered and pair[0].quantity != "requests")
        ]
        own = tuple(claim for _, claim in wanted)
        if answered and not own:
            return call.with_note(UNCOUNTED)
        if (known := self._refusals.known_for(scopes, own, now)) is not None:
            raise await self._refused(call, known, now)
        reservation = Reservation(new_id("resv"), self._keeper.owner, own, _memo(call))
        # What is kept is given at once and costs nothing: there is nothing to hold, or to give back.
        verdict = await (self._counters.count(own) if answered else self._counters.reserve(reservation))
        uses = tuple(
            _use(spec, claim, used) for (spec, claim), used in zip(wanted, verdict.used, strict=True)
        )
        if not verdict.granted:
            raise await self._refused(call, self._refusal(uses, verdict.refused, now), now)
        call = call.with_note(standing(uses, now))
        if answered:
            return call
        held = Held(reservation.id, call.model, tuple((spec.quantity, claim) for spec, claim in wanted))
        return call.evolve(estimate=estimate, notes={**call.notes, Held: held})

    def _limits(self, call: Call, tenant: Tenant) -> dict[str, Limits]:
        return dict(zip(_scopes(call.principal), (tenant.limits, call.principal.limits), strict=True))

    def _refusal(self, uses: Sequence[Use], refused: Sequence[int], now: float) -> Refusal:
        use = last_to_reset((uses[index] for index in refused), now)
        return self._refusals.keep(use.claim.key.partition("|")[0], use, uses)

    async def _refused(self, call: Call, refusal: Refusal, now: float) -> LimitExceeded:
        error = exceeded(refusal.use, refusal.uses, call.principal, now)
        if self._seldom.due(refusal.use.claim.key):
            principal = call.principal
            await self._events.publish(
                LimitReached(
                    at=now,
                    tenant=principal.tenant,
                    request_id=call.id,
                    key_id=principal.key_id,
                    code=error.code,
                )
            )
        return error

    async def _report(self, call: Call, error: Unavailable) -> None:
        if self._seldom.due("failure"):
            event = PartFailed(
                at=self._clock.now(), tenant=call.principal.tenant, part="tenancy", error=str(error)
            )
            await self._events.publish(event)

    def _forget(self, tenant_id: str) -> None:
        self._tenants.forget(tenant_id)
        self._refusals.clear()


def _checked(tenant_id: str) -> str:
    if not TENANT_ID.fullmatch(tenant_id):
        raise NotFound("There is no such tenant.")
    return tenant_id


def _scopes(principal: Principal) -> tuple[str, str]:
    return f"t:{principal.tenant}", f"k:{principal.key_id}"


def _use(spec: Spec, claim: Claim, used: int) -> Use:
    return Use(spec, claim, 0 if claim.limit is None else claim.limit, used)


def _memo(call: Call) -> Mapping[str, object]:
    return {
        "request_id": call.id,
        "tenant": call.principal.tenant,
        "key_id": call.principal.key_id,
        "route": call.route,
        "model": call.model,
        "started_at": call.received_at,
    }


def _actual(held: Held, outcome: Outcome) -> Mapping[str, int] | None:
    """Per bucket; `None` when nothing was used. What came from the cache took no tokens of a model."""
    tokens = 0 if outcome.cached else outcome.usage.total
    if outcome.status != "success" and not tokens and not outcome.cost:
        return None
    amounts = {"requests": 1, "tokens": tokens, "cost": outcome.cost, "calls": 0}
    return {claim.key: amounts[quantity] for quantity, claim in held.claims}

"""What a refusal says, and the short memory that keeps a flood of refused calls away from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import LimitExceeded
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.storage.protocols import Claim
from sentinella_plugins.tenancy.limits import Use, seconds_until, standing

MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that refused, and how all limits of its scope stood."""

    use: Use
    uses: tuple[Use, ...]
    until: float


class Refusals:
    """Per scope (a tenant or a key), for at most `keep_s`."""

    def __init__(self, clock: Clock, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._kept: dict[str, Refusal] = {}

    def keep(self, scope: str, use: Use, uses: Sequence[Use]) -> Refusal:
        if len(self._kept) >= MOST_REMEMBERED:
            self._kept.clear()
        own = tuple(other for other in uses if other.claim.key.startswith(f"{scope}|"))
        refusal = self._kept[scope] = Refusal(use, own, self._clock.monotonic() + self._keep_s)
        return refusal

    def forget(self, *scopes: str) -> None:
        for scope in scopes:
            self._kept.pop(scope, None)

    def clear(self) -> None:
        self._kept.clear()

    def known(self, scopes: Mapping[str, Limits], now: float) -> Refusal | None:
        """A refusal that any call would meet: those of limits that every call needs one unit of."""
        for scope, limits in scopes.items():
            refusal = self._valid(scope, now)
            if refusal is not None and refusal.use.spec.quantity in ("requests", "calls"):
                spec, limit = refusal.use.spec, refusal.use.limit
                if getattr(limits, spec.name) == limit:
                    return refusal
        return None

    def known_for(self, scopes: Mapping[str, Limits], claims: Sequence[Claim], now: float) -> Refusal | None:
        """A refusal of this amount or less in one of these buckets."""
        refusals = [refusal for scope in scopes if (refusal := self._valid(scope, now)) is not None]
        for refusal in refusals:
            if any(_meets(claim, refusal.use.claim) for claim in claims):
                return refusal
        return None

    def _valid(self, scope: str, now: float) -> Refusal | None:
        refusal = self._kept.get(scope)
        if refusal is None:
            return None
        ends = refusal.use.claim.expires_at
        if refusal.until <= self._clock.monotonic() or (ends is not None and ends <= now):
            del self._kept[scope]
            return None
        return refusal


def _meets(claim: Claim, full: Claim) -> bool:
    return claim.key == full.key and claim.limit == full.limit and claim.amount >= full.amount


class OncePerSecond:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def due(self, subject: str) -> bool:
        now = self._clock.monotonic()
        if now - self._last.get(subject, -1.0e9) < 1.0:
            return False
        if len(self._last) >= MOST_REMEMBERED:
            self._last.clear()
        self._last[subject] = now
        return True


def exceeded(use: Use, uses: Sequence[Use], principal: Principal, now: float) -> LimitExceeded:
    scope = "tenant" if use.claim.key.startswith("t:") else "key"
    name = principal.tenant if scope == "tenant" else principal.key_name or principal.key_id
    who = f"{scope.capitalize()} `{name}`"
    resets_at = use.resets_at(now)
    retry_after = seconds_until(resets_at, now)
    return LimitExceeded(
        f"{who} {_story(use)}; {_reset(use, resets_at, retry_after)}",
        code=use.spec.code,
        scope=scope,
        limit=use.spec.shown(use.limit),
        used=use.spec.shown(use.used),
        resets_at=resets_at,
        retry_after=retry_after,
        standing=standing(uses, now),
    )


def _story(use: Use) -> str:
    spec, sign = use.spec, "$" if use.spec.quantity == "cost" else ""
    used, limit = f"{sign}{spec.shown(use.used)}", f"{sign}{spec.shown(use.limit)}"
    if spec.period is None:
        return f"has {used} calls running of at most {limit} at once (`{spec.name}`)"
    noun = "" if spec.quantity == "cost" else f" {spec.quantity}"
    amount = f"{sign}{spec.shown(use.claim.amount)}"
    need = "" if spec.quantity == "requests" else f" and this call may need {amount}"
    return f"has used {used} of its limit of {limit}{noun} per {spec.period} (`{spec.name}`){need}"


def _reset(use: Use, resets_at: float, retry_after: int) -> str:
    if use.spec.period is None:
        return "retry when one of them ends."
    at = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"it resets at {at} UTC, in {retry_after} s."

"""Estimates calls from the catalogue and from what was learned."""

from __future__ import annotations

from sentinella_plugins.kernel.access import matches, may_use
from sentinella_plugins.kernel.call import Call, Estimate, Outcome, Usage
from sentinella_plugins.kernel.catalogue import Catalogue, ModelCard
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.tenancy.config import TenancyConfig
from sentinella_plugins.tenancy.estimate import (
    LARGEST,
    TypicalLength,
    choices,
    completion_tokens,
    dearest,
    is_auto,
)
from sentinella_plugins.tenancy.limits import needs_estimate
from sentinella_plugins.tenancy.models import Tenant


class Estimator:
    def __init__(self, catalogue: Catalogue, config: TenancyConfig) -> None:
        self._catalogue = catalogue
        self._typical = TypicalLength(
            default=config.default_completion_tokens,
            quantile=config.learned_quantile,
            models=config.learned_models,
        )

    async def estimate(self, call: Call, tenant: Tenant) -> Estimate | None:
        """`None` when neither tokens nor money are limited: counting a prompt is dear."""
        if not (needs_estimate(tenant.limits) or needs_estimate(call.principal.limits)):
            return None
        card = self._card(call, tenant)
        model = call.model if card is None else card.name
        prompt = min(await self._catalogue.count_prompt(model, call.body), LARGEST // 2)
        completion = min(completion_tokens(call.body, card, self._typical.of(call.model)), LARGEST // 2)
        cost = self._catalogue.cost(model, Usage(prompt=prompt, completion=completion))
        return Estimate(prompt_tokens=prompt, completion_tokens=completion, cost=Nano(min(cost, LARGEST)))

    def _card(self, call: Call, tenant: Tenant) -> ModelCard | None:
        if not is_auto(call.model):
            return self._catalogue.find(call.model)
        preferences, models = tenant.preferences, call.principal.models
        return dearest(
            card
            for card in self._catalogue.cards()
            if card.mode == "chat"
            and may_use(models, tenant.models, card.name)
            and matches(preferences.providers or None, card.provider)
            and not matches(preferences.exclude, card.provider)
            and not matches(preferences.exclude, card.name)
        )

    def learn(self, call: Call, outcome: Outcome, *, asked: str) -> None:
        """For the model that was asked for (perhaps `auto`) and the one that answered."""
        each = outcome.usage.completion // choices(call.body)
        for model in {outcome.model, asked}:
            self._typical.learn(model, each)

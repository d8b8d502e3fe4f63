"""The router's choice inside LiteLLM: as `router_settings.plugins` and as a `classifier_plugin`."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time
from typing import TypeAlias

from litellm.types.router import RoutingContext

from sentinella_plugins.kernel.access import AUTO
from sentinella_plugins.kernel.call import Call, Principal
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.kernel.ids import new_id
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.service import RouterService

Parts: TypeAlias = tuple[RouterService, Catalogue]
FindParts = Callable[[], Parts]
CHAT = "/v1/chat/completions"
TIERS = ((0.25, "SIMPLE"), (0.5, "MEDIUM"), (0.75, "COMPLEX"))
HARDEST = "REASONING"


class SentinellaRouting:
    """Narrows the deployments of one model group to those of the model that the router would choose among
    them. Models that the catalogue does not know are left to LiteLLM: with none known nothing changes.

    `find` is called with each request, because the YAML is read before the gateway stands.
    """

    def __init__(self, find: FindParts) -> None:
        self._find = find

    async def run(self, context: RoutingContext) -> RoutingContext:
        service, catalogue = self._find()
        upstreams = {card.name: card.upstream for card in catalogue.cards()}
        offered = set(context.candidate_models)
        known = {name for name, upstream in upstreams.items() if upstream in offered}
        if len({upstreams[name] for name in known}) < 2:
            return context
        try:
            choice = await service.consider(_call(context), Policy(allowed=known.__contains__))
        except SentinellaError as error:
            context.signals["sentinella"] = {"error": error.code}
            return context
        context.signals["sentinella"] = {"model": choice.model, **choice.public()}
        context.candidate_models = [upstreams[choice.model]]
        return context


class SentinellaClassifier:
    """Names the tier of a prompt for LiteLLM's complexity router (`classifier_type: custom`): by the
    complexity that the router predicts, up to 0.25 `SIMPLE`, 0.5 `MEDIUM`, 0.75 `COMPLEX`, else
    `REASONING`."""

    def __init__(self, find: FindParts) -> None:
        self._find = find

    async def classify(self, context: RoutingContext) -> str | None:
        service, _ = self._find()
        features = await service.features(_call(context))
        return next((tier for most, tier in TIERS if features.complexity <= most), HARDEST)


def _call(context: RoutingContext) -> Call:
    return Call(
        id=new_id("req"),
        route=CHAT,
        model=AUTO,
        body={"messages": [dict(message) for message in context.structured_messages or context.raw_messages]},
        principal=Principal(tenant=str(context.metadata.get("user_api_key_team_id") or ""), key_id=""),
        received_at=time(),
        started=perf_counter(),
    )

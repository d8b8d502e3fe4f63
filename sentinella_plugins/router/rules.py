"""What excludes a model before anything is predicted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sentinella_plugins.kernel.access import matches
from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.router.lineup import Lineup
from sentinella_plugins.router.models import Policy
from sentinella_plugins.router.request import Request

NOT_ALLOWED = "not_allowed"
Codes = list[str | None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """A request's own, together with its tenant's."""

    providers: tuple[str, ...]
    exclude: tuple[str, ...]


def wishes(policy: Policy, routing: Json) -> Wishes:
    """A request may narrow what its tenant excludes, and name other providers."""
    providers = _names(routing, "providers") or policy.providers
    return Wishes(tuple(providers), (*policy.exclude, *_names(routing, "exclude")))


def bars(lineup: Lineup, policy: Policy, wanted: Wishes, request: Request) -> Codes:
    """For every model the reason why it is out, or `None`."""
    codes: Codes = [None if policy.allowed(name) else NOT_ALLOWED for name in lineup.names]
    keyed = any(code is None and not card.demo for code, card in zip(codes, lineup.cards, strict=True))
    unwanted = _unwanted(lineup, wanted)
    for index, card in enumerate(lineup.cards):
        if codes[index] is None:
            abilities = lineup.abilities[index]
            codes[index] = (
                "demo" if keyed and card.demo else unwanted[index] or _unable(card, abilities, request)
            )
    return codes


@lru_cache(maxsize=1_024)
def _unwanted(lineup: Lineup, wanted: Wishes) -> tuple[str | None, ...]:
    return tuple(_against(card, wanted) for card in lineup.cards)


def _against(card: ModelCard, wanted: Wishes) -> str | None:
    if wanted.providers and not matches(wanted.providers, card.provider):
        return "provider_not_wanted"
    if matches(wanted.exclude, card.provider) or matches(wanted.exclude, card.name):
        return "excluded"
    return None


def _unable(card: ModelCard, abilities: frozenset[str], request: Request) -> str | None:
    if not request.needs <= abilities:
        return f"lacks_{min(request.needs - abilities)}"
    if (request.output_tokens or 0) > (card.max_output_tokens or float("inf")):
        return "output_too_long"
    if request.prompt_tokens + (request.output_tokens or 0) > (card.context_window or float("inf")):
        return "context_too_small"
    return None


def _names(routing: Json, name: str) -> Sequence[str]:
    given = routing.get(name)
    return [item for item in given if isinstance(item, str)] if isinstance(given, list | tuple) else ()

"""Which models may stand in for another, in which order. Pure: the same question has the same answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sentinella_plugins.fallback.chains import Chains
from sentinella_plugins.fallback.models import Needs, Preferences
from sentinella_plugins.fallback.needs import fits
from sentinella_plugins.kernel.access import matches
from sentinella_plugins.kernel.catalogue import ModelCard

CHAT = ("chat", "responses")
Allowed = Callable[[str], bool]
BlockedUntil = Callable[[str], float | None]
"""`None` when a model may be asked now; else when its breaker will let a call through."""


@dataclass(frozen=True, slots=True)
class Route:
    """`chain` in the order that was wished; `automatic` by nearness; `long` for too long prompts."""

    requested: ModelCard
    chain: Sequence[ModelCard] = ()
    automatic: Sequence[ModelCard] = ()
    long: Sequence[ModelCard] = ()

    def all(self, *, long: bool = False) -> list[ModelCard]:
        cards = (self.requested, *(self.long if long else ()), *self.chain, *self.automatic)
        return list({card.name: card for card in cards}.values())


class Planner:
    def __init__(self, chains: Chains, *, automatic: bool = True) -> None:
        self._chains = chains
        self._automatic = automatic
        self._cards: Sequence[ModelCard] = ()
        self._named: dict[str, ModelCard] = {}
        self._near: dict[str, tuple[ModelCard, ...]] = {}

    def know(self, cards: Sequence[ModelCard]) -> None:
        """Cheap while the catalogue stays the same."""
        if cards != self._cards:
            self._cards = cards
            self._named = {card.name: card for card in cards}
            self._near.clear()

    def find(self, name: str) -> ModelCard | None:
        return self._named.get(name) or self._named.get(self._chains.resolve(name))

    def route(
        self, requested: ModelCard, name: str, needs: Needs, preferences: Preferences, allowed: Allowed
    ) -> Route:
        """`name` is what the client called the requested model: an alias may have a chain of its own."""

        def welcome(card: ModelCard) -> bool:
            return (
                fits(card, needs)
                and _wanted(card, preferences)
                and _same_kind(card, requested)
                and allowed(card.name)
            )

        names = (name, requested.name)
        chain = self._known(self._chains.of(*names, first=preferences.chains), requested, welcome)
        near = self._nearest(requested) if self._automatic else ()
        return Route(
            requested,
            chain,
            _elsewhere((requested, *chain), filter(welcome, near)),
            self._known(self._chains.of_long(*names), requested, welcome),
        )

    def _known(
        self, names: Iterable[str], requested: ModelCard, welcome: Callable[[ModelCard], bool]
    ) -> tuple[ModelCard, ...]:
        """For a retired name, what has replaced it."""
        known = (self._named[name] for name in names if name in self._named)
        current = (self._named.get(card.replaced_by or "", card) for card in known)
        wanted = {card.name: card for card in current if card.name != requested.name and welcome(card)}
        return tuple(wanted.values())

    def _nearest(self, requested: ModelCard) -> tuple[ModelCard, ...]:
        found = self._near.get(requested.name)
        if found is None:
            found = self._near[requested.name] = nearest(requested, self._cards)
        return found


def nearest(requested: ModelCard, cards: Iterable[ModelCard]) -> tuple[ModelCard, ...]:
    """Current chat models by nearness of price tier, the cheaper of two that are equally near first."""
    if requested.mode not in CHAT:
        return ()
    fit = (card for card in cards if card.mode == "chat" and card.demo == requested.demo)
    return tuple(sorted(fit, key=lambda card: _distance(card, requested)))


def pick(
    route: Route,
    used: Collection[str],
    after: str | None,
    blocked_until: BlockedUntil,
    longer_than: int | None = None,
) -> ModelCard | None:
    """The next healthy alternative after an attempt at the provider `after`, or `None`. With `longer_than`
    only larger context windows count; of an explicit long chain, unknown ones too."""

    def free(card: ModelCard) -> bool:
        return (
            card.name not in used and card.name != route.requested.name and blocked_until(card.name) is None
        )

    if longer_than is not None:
        for card in route.long:
            if (card.context_window is None or card.context_window > longer_than) and free(card):
                return card
    for card in _longer(route.chain, longer_than):
        if free(card):
            return card
    healthy = [card for card in _longer(route.automatic, longer_than) if free(card)]
    return _pop_diverse(healthy, after) if healthy else None


def order(route: Route, blocked_until: BlockedUntil) -> list[ModelCard]:
    """Every candidate in the order in which one failure after the other would lead to it."""
    ordered = [card for card in (route.requested, *route.chain) if blocked_until(card.name) is None]
    healthy = [card for card in route.automatic if blocked_until(card.name) is None]
    while healthy:
        ordered.append(_pop_diverse(healthy, (ordered[-1] if ordered else route.requested).provider))
    known = {card.name for card in ordered}
    return ordered + least_bad((card for card in route.all() if card.name not in known), blocked_until)


def least_bad(cards: Iterable[ModelCard], blocked_until: BlockedUntil) -> list[ModelCard]:
    """The soonest to be tried again first."""
    return sorted(cards, key=lambda card: blocked_until(card.name) or 0.0)


def _pop_diverse(cards: list[ModelCard], after: str | None) -> ModelCard:
    """The nearest of another provider, else the nearest."""
    return cards.pop(next((index for index, card in enumerate(cards) if card.provider != after), 0))


def _elsewhere(known: Iterable[ModelCard], cards: Iterable[ModelCard]) -> tuple[ModelCard, ...]:
    """One card for each upstream that is not known yet: a second name of one thing fails like the first."""
    upstreams = {card.upstream: card for card in known}
    before = len(upstreams)
    for card in cards:
        upstreams.setdefault(card.upstream, card)
    return tuple(upstreams.values())[before:]


def _longer(cards: Sequence[ModelCard], than: int | None) -> Iterable[ModelCard]:
    if than is None:
        return cards
    return (card for card in cards if card.context_window is not None and card.context_window > than)


def _wanted(card: ModelCard, preferences: Preferences) -> bool:
    if preferences.providers and not matches(preferences.providers, card.provider):
        return False
    exclude = preferences.exclude
    return not exclude or not (matches(exclude, card.name) or matches(exclude, card.provider))


def _same_kind(card: ModelCard, requested: ModelCard) -> bool:
    """The demo's text may not pass for a real answer, and retired names stand in for nobody."""
    chat = requested.mode in CHAT and card.mode in CHAT
    invented = card.demo and not requested.demo
    return (chat or card.mode == requested.mode) and not card.deprecated and not invented


def _distance(card: ModelCard, requested: ModelCard) -> tuple[float, bool, float, str]:
    price, wished = _price(card), _price(requested)
    if price is None or wished is None:
        return (math.inf if price is None else 0.0, False, price or math.inf, card.name)
    return (round(abs(math.log2(price / wished))), price > wished, price, card.name)


def _price(card: ModelCard) -> float | None:
    """Of a million tokens, three of four read: what a model costs tells roughly how good it is."""
    read, written = card.input_usd_per_million, card.output_usd_per_million
    if read is None or written is None:
        return None
    return (3 * read + written) / 4 or None

"""The chains of the settings, and those of LiteLLM's own YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

EVERY = "*"
Chain = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chains:
    """For a model, which ones stand in for it, best first; `*` stands for every model."""

    chains: Chain = field(default_factory=dict)
    fallbacks: Chain = field(default_factory=dict)
    context_window_fallbacks: Chain = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        chains: Chain,
        *,
        fallbacks: object = None,
        context_window_fallbacks: object = None,
        model_group_alias: object = None,
    ) -> Chains:
        """As LiteLLM writes them: `fallbacks: [{gpt-4o: [claude]}]`, `model_group_alias: {old: new}` or
        `{old: {model: new}}`. What is of no known shape is left out."""
        return cls(
            chains=chains,
            fallbacks=_merged(fallbacks),
            context_window_fallbacks=_merged(context_window_fallbacks),
            aliases=_aliases(model_group_alias),
        )

    def resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    def of(self, *names: str, first: Chain | None = None) -> list[str]:
        """What stands in for a model that goes by these names: `first` is the tenant's own chain."""
        return self._named((first or {}, self.chains, self.fallbacks), names)

    def of_long(self, *names: str) -> list[str]:
        return self._named((self.context_window_fallbacks,), names)

    def _named(self, sources: Iterable[Chain], names: Sequence[str]) -> list[str]:
        found = (_first(source, names) for source in sources)
        return list(dict.fromkeys(self.resolve(name) for chain in found for name in chain))


def _first(source: Chain, names: Sequence[str]) -> Sequence[str]:
    return next((source[name] for name in (*names, EVERY) if name in source), ())


def _merged(given: object) -> dict[str, tuple[str, ...]]:
    entries = given if isinstance(given, list | tuple) else (given,)
    return {
        str(model): tuple(name for name in (_name(item) for item in chain) if name)
        for entry in entries
        if isinstance(entry, Mapping)
        for model, chain in entry.items()
        if isinstance(chain, list | tuple)
    }


def _aliases(given: object) -> dict[str, str]:
    entries = given.items() if isinstance(given, Mapping) else ()
    named = {str(alias): _name(target) for alias, target in entries}
    return {alias: target for alias, target in named.items() if target}


def _name(item: object) -> str | None:
    if isinstance(item, Mapping):
        item = item.get("model")
    return item if isinstance(item, str) else None

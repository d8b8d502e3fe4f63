"""How able the models are: what the predictor knows of them, and for each tenant what its own scores say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.router.lineup import Lineup
from sentinella_plugins.router.models import Features, Learned, Observation, Predictor, Profile, Values


class Profiles:
    """A tenant's scores change nothing for any other: all of them start from the same priors. A tenant that
    is not in memory has its priors until it was loaded (`wanted`)."""

    def __init__(self, predictor: Predictor, max_tenants: int) -> None:
        self._predictor = predictor
        self._max_tenants = max_tenants
        self._others: dict[int, tuple[Lineup, list[Profile]]] = {}
        self._tenants: OrderedDict[str, dict[str, Profile]] = OrderedDict()
        self._lists: dict[str, tuple[Lineup, list[Profile]]] = {}
        self.wanted: set[str] = set()

    def of(self, tenant: str, lineup: Lineup) -> list[Profile]:
        """In the order of the models."""
        own = self._tenants.get(tenant)
        if own is None:
            if len(self.wanted) < self._max_tenants:
                self.wanted.add(tenant)
            return self._of_all(lineup)
        self._tenants.move_to_end(tenant)
        if not own:
            return self._of_all(lineup)
        known = self._lists.get(tenant)
        if known is None or known[0] is not lineup:
            merged = zip(lineup.answers, self._of_all(lineup), strict=True)
            known = self._lists[tenant] = (lineup, [own.get(name, prior) for name, prior in merged])
        return known[1]

    def prior(self, card: ModelCard) -> Profile:
        return self._predictor.profile(
            card.replaced_by or card.name,
            card.provider,
            card.input_usd_per_million,
            card.output_usd_per_million,
            card.context_window,
            card.capabilities,
        )

    def fit(self, card: ModelCard, observations: Sequence[Observation]) -> Profile | None:
        """Blocking; `None` when none of them was seen by this predictor."""
        features, scores = self._usable(observations)
        return self._predictor.fit_profile(features, scores, self.prior(card)) if scores else None

    def load(self, tenant: str, learned: Iterable[Learned]) -> None:
        """All that is kept of a tenant."""
        self._tenants[tenant] = {}
        self._tenants.move_to_end(tenant)
        self._lists.pop(tenant, None)
        self.wanted.discard(tenant)
        self.adopt(learned)
        while len(self._tenants) > self._max_tenants:
            dropped, _ = self._tenants.popitem(last=False)
            self._lists.pop(dropped, None)

    def forget(self, tenant: str) -> None:
        self._tenants.pop(tenant, None)
        self._lists.pop(tenant, None)

    def adopt(self, learned: Iterable[Learned]) -> None:
        """What changed, where the tenant is in memory."""
        for one in learned:
            own = self._tenants.get(one.tenant)
            if own is not None and one.predictor == self._predictor.name:
                own[one.model] = self._predictor.restore_profile(one.model, loaded(one.ability))
                self._lists.pop(one.tenant, None)

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._tenants

    def own(self, tenant: str) -> Mapping[str, Profile]:
        return self._tenants.get(tenant, {})

    def _of_all(self, lineup: Lineup) -> list[Profile]:
        known = self._others.get(id(lineup))
        if known is None or known[0] is not lineup:
            if len(self._others) > 8:
                self._others.clear()
            known = self._others[id(lineup)] = (lineup, [self.prior(card) for card in lineup.cards])
        return known[1]

    def _usable(self, observations: Sequence[Observation]) -> tuple[list[Features], list[float]]:
        usable = [one for one in observations if one.predictor == self._predictor.name and one.values]
        features = [self._predictor.restore_features(loaded(one.values), one.task) for one in usable]
        return features, [one.score for one in usable]


def kept(values: Values) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def loaded(raw: bytes) -> Values:
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)

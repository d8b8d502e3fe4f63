"""What scores teach about a tenant's models."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from sentinella_plugins.kernel.catalogue import Catalogue, ModelCard
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import SentinellaError
from sentinella_plugins.router.config import RouterConfig
from sentinella_plugins.router.models import Features, Learned, Observation, Predictor, Profile, Source
from sentinella_plugins.router.profiles import Profiles, kept
from sentinella_plugins.router.store import RouterStore
from sentinella_plugins.vectors.models import Encoder, Encoding

logger = logging.getLogger(__name__)
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a golden data set: how well a model answered a prompt, 0..1."""

    prompt: str
    model: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """`models` holds for each what was learned from it; `unknown` are names that the catalogue lacks."""

    rows: int
    models: dict[str, tuple[int, float]]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Teacher:
    """Scores are kept at once, profiles follow in the next `round`. Without a store the scores of this
    process count until it ends."""

    config: RouterConfig
    catalogue: Catalogue
    predictor: Predictor
    profiles: Profiles
    clock: Clock
    encoder: Encoder | None = None
    store: RouterStore | None = None
    _due: set[tuple[str, str]] = field(default_factory=set)
    _kept: dict[tuple[str, str], dict[str, Observation]] = field(default_factory=dict)

    async def observe(self, observations: Sequence[Observation]) -> int:
        """How many are new; the others take the place of earlier ones with their ids."""
        keep = self.config.learning.observations_per_model
        if self.store is not None:
            new = await self.store.observe(observations, keep)
        else:
            new = self._keep(observations, keep)
        self._due.update((one.tenant, one.model) for one in observations)
        return new

    def forget(self, tenant: str) -> None:
        self.profiles.forget(tenant)
        self._due.difference_update([pair for pair in self._due if pair[0] == tenant])
        for pair in [pair for pair in self._kept if pair[0] == tenant]:
            del self._kept[pair]

    def observation(
        self, tenant: str, key: str, model: str, features: Features, source: Source, score: float
    ) -> Observation:
        return Observation(
            tenant=tenant,
            id=key,
            model=model,
            task=features.task,
            source=source,
            score=score,
            predictor=self.predictor.name,
            values=kept(features.values),
            at=self.clock.now(),
        )

    async def calibrate(self, tenant: str, rows: Sequence[Row]) -> Calibrated:
        """Learns from a tenant's own results; the same prompt and model again replaces what was there."""
        names = {row.model: card for row in rows if (card := self._card(row.model)) is not None}
        usable = [row for row in rows if row.model in names]
        features = await self._features(tuple(dict.fromkeys(row.prompt for row in usable)))
        made = [self._of_row(tenant, row, names[row.model], features[row.prompt]) for row in usable]
        observations = list({one.id: one for one in made}.values())
        if observations:
            await self.observe(observations)
            await self.round()
        return Calibrated(
            rows=len(observations),
            models=_means(observations),
            unknown=tuple(sorted({row.model for row in rows} - names.keys())),
        )

    async def round(self) -> None:
        """Fits the profiles whose scores changed. One that fails is tried again with its next score."""
        due = sorted(self._due)
        self._due.clear()
        for tenant, model in due:
            try:
                await self._fit(tenant, model)
            except SentinellaError:
                self._due.add((tenant, model))
                raise
            except Exception:
                logger.exception("the profile of `%s` for tenant `%s` cannot be fitted", model, tenant)

    def _of_row(self, tenant: str, row: Row, card: ModelCard, features: Features) -> Observation:
        model = card.replaced_by or card.name
        key = blake2b(f"{model}|{row.prompt}".encode(errors="replace"), digest_size=16).hexdigest()
        return self.observation(tenant, f"row:{key}", model, features, "calibration", row.score)

    async def _fit(self, tenant: str, model: str) -> None:
        card = self._card(model)
        if card is None:
            return
        observations = await self._observations(tenant, model)
        profile = await asyncio.to_thread(self.profiles.fit, card, observations)
        if profile is None:
            return
        learned = self._learned(tenant, model, profile, observations)
        if self.store is not None:
            await self.store.keep_profiles([learned])
        if tenant not in self.profiles:
            self.profiles.load(tenant, () if self.store is None else await self.store.profiles(tenant))
        self.profiles.adopt([learned])

    async def _observations(self, tenant: str, model: str) -> list[Observation]:
        limit = self.config.learning.observations_per_model
        if self.store is not None:
            return await self.store.observations(tenant, model, limit)
        return list(self._kept.get((tenant, model), {}).values())

    def _keep(self, observations: Sequence[Observation], most: int) -> int:
        new = 0
        for one in observations:
            mine = self._kept.setdefault((one.tenant, one.model), {})
            new += mine.pop(one.id, None) is None
            mine[one.id] = one
            while len(mine) > most:
                del mine[next(iter(mine))]
        return new

    def _learned(
        self, tenant: str, model: str, profile: Profile, observations: Sequence[Observation]
    ) -> Learned:
        scores = [one.score for one in observations]
        return Learned(
            tenant=tenant,
            model=model,
            predictor=self.predictor.name,
            ability=kept(profile.ability),
            observations=len(scores),
            mean_score=sum(scores) / len(scores),
            updated_at=self.clock.now(),
        )

    async def _features(self, prompts: Sequence[str]) -> dict[str, Features]:
        found: dict[str, Features] = {}
        for start in range(0, len(prompts), _BATCH):
            texts = [prompt[: self.config.reading.max_chars] for prompt in prompts[start : start + _BATCH]]
            encodings = await self._encodings(texts)
            made = await asyncio.to_thread(self._read, texts, encodings)
            found |= zip(prompts[start : start + _BATCH], made, strict=True)
        return found

    def _read(self, texts: Sequence[str], encodings: Sequence[Encoding | None]) -> list[Features]:
        return [self.predictor.features(text, one) for text, one in zip(texts, encodings, strict=True)]

    async def _encodings(self, texts: Sequence[str]) -> Sequence[Encoding | None]:
        if self.encoder is None:
            return [None] * len(texts)
        return await self.encoder.encode(texts)

    def _card(self, model: str) -> ModelCard | None:
        """Of a name of the catalogue, or of what answers under a retired one."""
        found = self.catalogue.find(model)
        return found or next((card for card in self.catalogue.cards() if card.replaced_by == model), None)


def _means(observations: Sequence[Observation]) -> dict[str, tuple[int, float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for one in observations:
        scores[one.model].append(one.score)
    return {model: (len(given), sum(given) / len(given)) for model, given in sorted(scores.items())}

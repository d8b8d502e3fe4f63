"""Quality by an item-response model: ability of the model against difficulty of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.router import models
from sentinella_plugins.router.prediction import reading
from sentinella_plugins.router.prediction.abilities import guessed
from sentinella_plugins.router.prediction.artefact import ARTEFACT, Artefact, load
from sentinella_plugins.router.prediction.fitting import fitted
from sentinella_plugins.router.prediction.kinds import KINDS, LANGUAGES, kind_of, language_of, task_of
from sentinella_plugins.router.prediction.names import Names
from sentinella_plugins.router.prediction.reading import Reading
from sentinella_plugins.router.prediction.structure import structure
from sentinella_plugins.vectors.models import Encoding

Floats = NDArray[np.float64]
Values = NDArray[np.float32]
# The head of an ability; what follows are weights of the prompt's place.
THETA, DOUBT, LENGTH = range(3)
BY_KIND = 3
WEIGHTS = BY_KIND + len(KINDS)
_KNOWN_DOUBT, _GUESSED_DOUBT = 0.4, 1.0
_LEAST_SPREAD = 0.02
_GUESS = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    task: str
    complexity: float
    language: str
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    model: str
    ability: Values
    known: bool


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    quality: Floats
    spread: Floats
    completion_tokens: Floats


class Predictor:
    """Safe to be used by several threads."""

    def __init__(self, artefact: Artefact) -> None:
        arrays = artefact.arrays
        self.name = f"irt-{artefact.checksum[:12]}"
        self._reading = Reading(arrays)
        self._arrays = arrays
        self._models = {name: index for index, name in enumerate(artefact.models)}
        self._names = Names(artefact.models)

    @classmethod
    def load(cls, folder: Path = ARTEFACT) -> Predictor:
        """Raises `OSError` for a missing and `ValueError` for a damaged artefact."""
        try:
            return cls(load(folder))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"The artefact in {folder} lacks something: {error!r}.") from error

    def features(
        self, text: str, encoding: Encoding | None, *, messages: int = 1, images: int = 0, tools: int = 0
    ) -> Features:
        seen = structure(text, encoding.pieces if encoding else (), messages)
        kind, language = kind_of(seen), language_of(text, seen)
        vector = encoding.vector if encoding else None
        values = self._reading.values(seen, kind, vector, LANGUAGES.index(language))
        more = 0.03 * min(images, 3) + 0.02 * min(tools, 5) + 0.02 * min(messages - 1, 5)
        values[reading.COMPLEXITY] = min(1.0, float(values[reading.COMPLEXITY]) + more)
        return Features(task_of(kind, seen), float(values[reading.COMPLEXITY]), language, values)

    def restore_features(self, values: Values, task: str) -> Features:
        language = LANGUAGES[int(values[reading.LANGUAGE]) % len(LANGUAGES)]
        return Features(task, float(values[reading.COMPLEXITY]), language, values)

    def predict(self, features: models.Features, profiles: Sequence[models.Profile]) -> Prediction:
        abilities = np.array([profile.ability for profile in profiles], dtype=np.float32)
        abilities = abilities.reshape(len(profiles), self.ability_size)
        values = features.values
        logits = abilities[:, THETA] + abilities[:, BY_KIND + int(values[reading.KIND])]
        logits = (logits - values[reading.DIFFICULTY]) * values[reading.SHARPNESS]
        logits = (logits + abilities[:, WEIGHTS:] @ values[reading.HEAD :]).astype(np.float64)
        quality = _GUESS + (1 - 2 * _GUESS) / (1 + np.exp(-logits))
        spread = _LEAST_SPREAD + abilities[:, DOUBT] * quality * (1 - quality)
        tokens = np.exp(values[reading.TOKENS] + abilities[:, LENGTH].astype(np.float64))
        return Prediction(quality, spread.astype(np.float64), tokens)

    def profile(
        self,
        model: str,
        provider: str,
        input_usd: float | None,
        output_usd: float | None,
        context: int | None,
        capabilities: Sequence[str],
    ) -> Profile:
        ability = np.zeros(self.ability_size, dtype=np.float32)
        found = self._names.find(model)
        if found is None:
            price = output_usd if output_usd is not None else input_usd
            lines = self._arrays["by_price"], self._arrays["by_size"]
            by_price, by_size = ((float(line[0]), float(line[1])) for line in lines)
            ability[THETA] = guessed(model, price, capabilities, by_price, by_size)
            ability[DOUBT] = _GUESSED_DOUBT
            return Profile(model, ability, known=False)
        row = self._models[found]
        ability[THETA], ability[LENGTH] = self._arrays["theta"][row], self._arrays["length"][row]
        ability[DOUBT] = _KNOWN_DOUBT
        ability[BY_KIND:WEIGHTS] = self._arrays["theta_by_kind"][row]
        return Profile(model, ability, known=True)

    def restore_profile(self, model: str, ability: Values) -> Profile:
        return Profile(model, ability, known=True)

    def fit_profile(
        self, features: Sequence[models.Features], scores: Sequence[float], prior: models.Profile
    ) -> Profile:
        """The most probable ability and its doubt, after scores of 0 to 1."""
        if not features:
            return Profile(prior.model, prior.ability, prior.known)
        values = np.array([one.values for one in features], dtype=np.float64)
        kinds = values[:, reading.KIND].astype(int)
        sharp = values[:, reading.SHARPNESS]
        base = (
            np.asarray(prior.ability[BY_KIND:WEIGHTS], dtype=np.float64)[kinds]
            - values[:, reading.DIFFICULTY]
        )
        theta, doubt, weights = fitted(
            values[:, reading.HEAD :],
            sharp,
            base * sharp,
            np.asarray(scores, dtype=np.float64),
            axes=self._reading.axes,
            theta=float(prior.ability[THETA]),
            doubt=float(prior.ability[DOUBT]),
            weights=np.asarray(prior.ability[WEIGHTS:], dtype=np.float64),
        )
        ability = np.array(prior.ability, dtype=np.float32)
        ability[THETA], ability[DOUBT], ability[WEIGHTS:] = theta, doubt, weights
        return Profile(prior.model, ability, known=True)

    @property
    def ability_size(self) -> int:
        return WEIGHTS + self._reading.places

"""What is chosen from, by what, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sentinella_plugins.kernel.errors import BadRequest, NotFound
from sentinella_plugins.router.config import Objective
from sentinella_plugins.vectors.models import Encoding

Floats: TypeAlias = NDArray[np.float64]
Values: TypeAlias = NDArray[np.float32]
Source = Literal["feedback", "calibration", "shadow"]
SHOWN = 5


class NoModelFits(BadRequest):
    """No model fits this call. Relax `routing` or ask for a model by its name."""

    code = "no_model_fits"

    def __init__(self, excluded: Mapping[str, str]) -> None:
        super().__init__(_told(excluded), param="routing")
        self.excluded = excluded

    def details(self) -> Mapping[str, object]:
        return {"excluded": dict(self.excluded)}


class NoDecision(NotFound):
    """There is no decision of that request: it is too old, too new (a second), or not yours."""

    code = "decision_not_found"


def _told(excluded: Mapping[str, str]) -> str | None:
    counts: dict[str, int] = {}
    for code in excluded.values():
        counts[code] = counts.get(code, 0) + 1
    if not counts:
        return None
    why = ", ".join(f"{code}: {number}" for code, number in sorted(counts.items()))
    return f"No model fits this call ({why}). Relax `routing` or ask for a model by its name."


class Features(Protocol):
    """What a predictor sees of a prompt: `complexity` is 0..1, `values` are (d,) float32."""

    @property
    def task(self) -> str: ...

    @property
    def complexity(self) -> float: ...

    @property
    def language(self) -> str: ...

    @property
    def values(self) -> Values: ...


class Profile(Protocol):
    """What a predictor knows of a model; `known` tells whether it was measured."""

    @property
    def model(self) -> str: ...

    @property
    def ability(self) -> Values: ...

    @property
    def known(self) -> bool: ...


class Prediction(Protocol):
    """For M models, each of shape (M,): the chance of a good answer, its standard deviation, and the tokens
    of the answer."""

    @property
    def quality(self) -> NDArray[np.floating]: ...

    @property
    def spread(self) -> NDArray[np.floating]: ...

    @property
    def completion_tokens(self) -> NDArray[np.floating]: ...


class Predictor(Protocol):
    """`name` changes whenever features or abilities mean something else."""

    @property
    def name(self) -> str: ...

    def features(
        self, text: str, encoding: Encoding | None, *, messages: int = 1, images: int = 0, tools: int = 0
    ) -> Features: ...

    def restore_features(self, values: Values, task: str) -> Features:
        """Features that were kept as their values."""
        ...

    def predict(self, features: Features, profiles: Sequence[Profile]) -> Prediction: ...

    def profile(
        self,
        model: str,
        provider: str,
        input_usd: float | None,
        output_usd: float | None,
        context: int | None,
        capabilities: Sequence[str],
    ) -> Profile:
        """Of a model of the catalogue; prices in USD per million tokens."""
        ...

    def restore_profile(self, model: str, ability: Values) -> Profile:
        """A profile that was kept as its ability."""
        ...

    def fit_profile(
        self, features: Sequence[Features], scores: Sequence[float], prior: Profile
    ) -> Profile: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a tenant wants: `providers` and `exclude` are patterns; `exclude` names models or providers."""

    allowed: Callable[[str], bool]
    providers: Sequence[str] = ()
    exclude: Sequence[str] = ()
    objective: Objective | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """What an experiment does with one call. `key` tells this experiment from an earlier one of its name."""

    experiment: str
    key: str
    treated: bool

    @property
    def name(self) -> str:
        return "treatment" if self.treated else "control"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A decision with its outcome, as it is kept."""

    request_id: str
    tenant: str
    session: str | None
    model: str
    predictor: str
    values: bytes
    document: str
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """How well a model answered a prompt of a tenant: `score` is 0..1."""

    tenant: str
    id: str
    model: str
    task: str
    source: Source
    score: float
    comment: str = ""
    predictor: str
    values: bytes
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """A profile of one tenant, as it is kept."""

    tenant: str
    model: str
    predictor: str
    ability: bytes
    observations: int
    mean_score: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers that were added up: `squares` is the sum of their squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def plus(self, value: float) -> Tally:
        return Tally(self.n + 1, self.total + value, self.squares + value * value)

    @property
    def mean(self) -> float:
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Of one number, unbiased; 0 for fewer than two."""
        if self.n < 2:
            return 0.0
        return max(0.0, self.squares - self.total * self.total / self.n) / (self.n - 1)

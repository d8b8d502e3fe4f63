"""How a model is chosen, and what is learned from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Objective = Literal["balanced", "cheapest", "best", "fastest"]
Metric = Literal["success", "feedback", "cost", "latency"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Patterns = Annotated[tuple[ModelName, ...], Field(max_length=200)]


class Weights(BaseModel):
    """What a call's price and slowness take from its predicted quality, which is 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: Weight = Field(default=10.0, description="Quality that one US dollar outweighs.")
    latency: Weight = Field(default=0.005, description="Quality that one second of waiting outweighs.")


PRESETS: Mapping[Objective, Weights] = {
    "balanced": Weights(),
    "cheapest": Weights(cost=1e6, latency=0.0),
    "best": Weights(cost=0.01, latency=0.0),
    "fastest": Weights(cost=1.0, latency=10.0),
}


class ReadingConfig(BaseModel):
    """What is read of a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_chars: int = Field(
        default=8_000, ge=100, le=1_000_000, description="Characters of the question that are looked at."
    )
    follow_up_chars: int = Field(
        default=40,
        ge=0,
        le=1_000,
        description="A question shorter than this is read together with the one before it.",
    )
    timeout_ms: float = Field(
        default=50.0,
        gt=0,
        le=10_000,
        description="Longest wait for a question's vector, and for the model of a conversation; then it goes "
        "without.",
    )


class LearningConfig(BaseModel):
    """What is remembered of calls, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_s: float = Field(
        default=21_600.0, gt=0, le=31_536_000, description="After so many seconds a call counts half."
    )
    prior_calls: float = Field(
        default=10.0, gt=0, le=1e6, description="Calls that the assumptions about a model weigh as much as."
    )
    prior_success: Share = Field(default=0.995, description="Assumed success rate of a model.")
    prior_first_ms: float = Field(
        default=800.0, gt=0, le=600_000, description="Assumed time to a model's first token, in ms."
    )
    prior_token_ms: float = Field(
        default=12.0, gt=0, le=60_000, description="Assumed time for each further token, in ms."
    )
    max_entries: int = Field(
        default=4_096, ge=16, le=1_000_000, description="Most pairs of model and task that are remembered."
    )
    observations_per_model: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Scores kept for each tenant and model; older ones go first.",
    )
    max_tenants: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Tenants whose profiles one worker keeps in memory."
    )
    max_calibration_rows: int = Field(
        default=5_000, ge=1, le=100_000, description="Most rows of one calibration."
    )


class JournalConfig(BaseModel):
    """Explanations, and how they are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recent: int = Field(default=500, ge=1, le=1_000_000, description="Decisions kept in memory.")
    keep: int = Field(
        default=100_000, ge=0, le=100_000_000, description="Decisions kept in the database; 0 keeps none."
    )
    keep_s: float = Field(
        default=604_800.0, gt=0, le=31_536_000, description="How long a decision is kept, in seconds."
    )
    flush_s: float = Field(
        default=2.0, gt=0, le=600, description="Pause between two writes to the database, in seconds."
    )
    max_pending: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="Decisions that wait to be written; beyond it the oldest are lost.",
    )


class StickinessConfig(BaseModel):
    """A conversation stays on its model: providers cache prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="Whether conversations stay on their model.")
    switch_gain: float = Field(
        default=0.1, ge=0, le=1_000, description="Gain in utility for which a conversation changes its model."
    )
    max_sessions: int = Field(
        default=50_000, ge=1, le=10_000_000, description="Conversations that one worker remembers."
    )
    shared: bool = Field(
        default=True, description="Ask the database about a conversation that this worker does not know."
    )


class ExplorationConfig(BaseModel):
    """Trying models that do not look best, within bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["off", "epsilon", "ucb", "thompson"] = Field(
        default="off",
        description="`epsilon` tries any, `ucb` the most uncertain, `thompson` by chance of being best.",
    )
    share: Share = Field(default=0.05, description="Share of calls that may explore.")
    max_quality_loss: Share = Field(
        default=0.1, description="Most predicted quality that such a call may give up."
    )
    max_cost_factor: float = Field(
        default=2.0, ge=1, le=1_000, description="Most that it may cost, in times of the best choice."
    )
    width: float = Field(default=1.0, ge=0, le=10, description="Standard deviations that `ucb` adds.")


class ExperimentConfig(BaseModel):
    """A share of traffic to another model or objective, compared with the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Its name; a changed experiment needs a new one.")
    tenants: Patterns = Field(default=("*",), description="Patterns of the tenants that take part.")
    share: Share = Field(default=0.1, description="Share of conversations that get the other way.")
    replaces: ModelName | None = Field(
        default=None, description="Calls that name this model take part; by default those that name none."
    )
    model: ModelName | None = Field(default=None, description="The other model.")
    objective: Objective | None = Field(default=None, description="Or the other objective.")
    metric: Metric = Field(default="success", description="What is compared.")
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.05, description="Chance of calling a difference real that is none."
    )

    @model_validator(mode="after")
    def _one_other_way(self) -> Self:
        if (self.model is None) == (self.objective is None):
            raise ValueError("an experiment needs either `model` or `objective`")
        if self.replaces is not None and self.model is None:
            raise ValueError("`replaces` needs `model`")
        return self


class ShadowConfig(BaseModel):
    """A second model is asked in the background, on the tenant's account; its answer is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName | None = Field(default=None, description="The second model; null asks none.")
    tenants: Patterns = Field(default=("*",), description="Patterns of the tenants whose calls are compared.")
    share: Share = Field(default=0.01, description="Share of calls that are compared.")
    budget_usd_per_day: float = Field(
        default=1.0, ge=0, le=1e6, description="Most that all workers spend on it in a UTC day, about."
    )
    max_concurrency: int = Field(default=2, ge=1, le=1_000, description="Such calls at once, in one worker.")
    learn: bool = Field(
        default=False, description="Whether agreement with the first answer changes the profile."
    )


class RouterConfig(BaseModel):
    """How a model is chosen when the client leaves the choice to the gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_failure: Literal["open", "closed"] = Field(
        default="open",
        description="When choosing breaks: `open` asks the default or the cheapest model, `closed` refuses "
        "with 503.",
    )
    strategy: Literal["learned", "default_model"] = Field(
        default="learned",
        description="`learned`: by predicted quality, cost and latency; `default_model`: that one.",
    )
    default_model: str | None = Field(
        default=None,
        description="Asked by that strategy where the tenant may use it; else the cheapest allowed one.",
    )
    objective: Objective = Field(
        default="balanced", description="What is wanted where neither request nor tenant says it."
    )
    objectives: Mapping[Objective, Weights] = Field(
        default_factory=dict, description="Other weights for an objective: `{balanced: {cost: 20}}`."
    )
    artefact: str | None = Field(
        default=None, description="Folder of a trained predictor; by default the one that is shipped."
    )
    reading: ReadingConfig = ReadingConfig()
    learning: LearningConfig = LearningConfig()
    journal: JournalConfig = JournalConfig()
    stickiness: StickinessConfig = StickinessConfig()
    exploration: ExplorationConfig = ExplorationConfig()
    experiments: Annotated[tuple[ExperimentConfig, ...], Field(max_length=50)] = Field(
        default=(), description="Canaries and A/B tests; the first that fits a call counts."
    )
    shadow: ShadowConfig = ShadowConfig()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [experiment.name for experiment in self.experiments]
        if len(set(names)) < len(names):
            raise ValueError("two experiments have the same name")
        return self

    def weights(self, objective: Objective) -> Weights:
        return self.objectives.get(objective) or PRESETS[objective]

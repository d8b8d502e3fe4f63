"""Templates, their versions and labels, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from sentinella_plugins.kernel.money import FREE, Nano
from sentinella_plugins.templates.errors import TemplateInvalid
from sentinella_plugins.templates.variables import Variable, Variables

ID_PREFIX = "tmpl"
MOST_LABELS = 50
Source = Literal["api", "file", "rollback"]


def _no_id(name: str) -> str:
    if name.startswith(f"{ID_PREFIX}_"):
        raise ValueError(f"a name does not begin like an id, with `{ID_PREFIX}_`")
    return name


_Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
TemplateName = Annotated[_Word, AfterValidator(_no_id)]
Label = _Word
Weight = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Weights = Mapping[int, float]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Part):
    """One message of a chat template; every text in it may have variables."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[dict[str, JsonValue], ...], Field(min_length=1, max_length=100)]
    name: Annotated[str, Field(max_length=64)] | None = None

    def public(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


Messages = Annotated[tuple[Message, ...], Field(min_length=1, max_length=100)]
Syntax = Literal["simple", "jinja2"]
Description = Annotated[str, Field(max_length=4_000)]


class Content(Part):
    """What one version says. `template` is one text, which becomes one user message; `messages` is a chat
    template."""

    syntax: Syntax = "simple"
    template: str | None = None
    messages: Messages | None = None
    variables: Variables | None = None
    description: Description | None = None

    @field_validator("variables")
    @classmethod
    def _each_once(cls, variables: tuple[Variable, ...] | None) -> tuple[Variable, ...] | None:
        names = [variable.name for variable in variables or ()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`{name}` is declared twice")
        return variables

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if (self.template is None) == (self.messages is None):
            raise ValueError("give either `template` (a text) or `messages` (a chat)")
        return self

    @field_serializer("variables")
    def _written(self, variables: tuple[Variable, ...] | None) -> list[str | dict[str, Any]] | None:
        return None if variables is None else [variable.public() for variable in variables]

    @field_serializer("messages")
    def _shown(self, messages: tuple[Message, ...] | None) -> list[dict[str, Any]] | None:
        return None if messages is None else [message.public() for message in messages]

    def content(self) -> Content:
        """Nothing but what a version says."""
        return Content(**{name: getattr(self, name) for name in Content.model_fields})


class NewTemplate(Content):
    """`labels` are put on the first version."""

    name: TemplateName
    labels: Annotated[tuple[Label, ...], Field(max_length=MOST_LABELS)] = ()


class TemplateChange(Part):
    """Makes a new version: what is not named stays as it is. `template` takes the place of `messages` and the
    other way round. With `expected_version` it is refused when another version is the newest meanwhile."""

    syntax: Syntax | None = None
    template: str | None = None
    messages: Messages | None = None
    variables: Variables | None = None
    description: Description | None = None
    labels: Annotated[tuple[Label, ...], Field(max_length=MOST_LABELS)] = ()
    expected_version: VersionNumber | None = None

    @model_validator(mode="after")
    def _one_body_at_most(self) -> Self:
        if self.template is not None and self.messages is not None:
            raise ValueError("give either `template` (a text) or `messages` (a chat)")
        return self

    def of(self, content: Content) -> Content:
        """`TemplateInvalid` when nothing is left to say."""
        named = {name: getattr(self, name) for name in self.model_fields_set & Content.model_fields.keys()}
        if self.template is not None:
            named["messages"] = None
        if self.messages is not None:
            named["template"] = None
        if named.get("syntax", "simple") is None:
            del named["syntax"]
        try:
            return Content.model_validate({**dict(content), **named})
        except ValidationError as error:
            raise TemplateInvalid(error.errors(include_url=False)[0]["msg"]) from None


class Rollback(Part):
    """The version that a new one shall be equal to."""

    version: VersionNumber


class LabelChange(Part):
    """For each label the version that it names, or several with weights (`{"3": 0.9, "4": 0.1}`), or null to
    remove it. Other labels stay."""

    labels: Annotated[
        dict[
            Label,
            VersionNumber | Annotated[dict[VersionNumber, Weight], Field(min_length=1, max_length=10)] | None,
        ],
        Field(min_length=1, max_length=MOST_LABELS),
    ]

    def weights(self) -> dict[str, dict[int, float] | None]:
        return {
            label: {versions: 1.0} if isinstance(versions, int) else versions
            for label, versions in self.labels.items()
        }


class Use(Part):
    """Which version of a template, and its variables. Without version and label the newest one counts."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    version: VersionNumber | None = None
    label: Label | None = None
    variables: dict[str, Any] = {}


class RenderRequest(Part):
    """`session_id` decides which version of a label with several; without it chance does."""

    variables: dict[str, Any] = {}
    version: VersionNumber | None = None
    label: Label | None = None
    session_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A template without its texts. `version` is the newest; times are Unix seconds."""

    id: str
    tenant: str
    name: str
    version: int
    labels: Mapping[str, Weights]
    created_at: float
    file_digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    number: int
    content: Content
    source: Source
    created_at: float


@dataclass(frozen=True, slots=True)
class UsedTemplate:
    """A call's note of the template that it was made with."""

    id: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Rendering:
    """`text` is of a text template only; `messages` are what a model is asked."""

    used: UsedTemplate
    text: str | None
    messages: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Sums over the calls made with one version; `latency_ms` and `rating_sum` (0..1 each) are sums too, and
    latency is of successes only."""

    calls: int = 0
    successes: int = 0
    errors: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Nano = FREE
    latency_ms: float = 0.0
    ratings: int = 0
    rating_sum: float = 0.0
    last_used_at: float | None = None

"""How templates are shown over HTTP."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sentinella_plugins.kernel.money import Nano, usd
from sentinella_plugins.templates.models import Head, Rendering, Source, Usage, Version


class Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class TemplateVersion(Shown):
    """One version. `variables` are as they were declared: names, or objects."""

    object: Literal["template.version"] = "template.version"
    id: str
    version: int
    description: str | None
    syntax: Literal["simple", "jinja2"]
    template: str | None
    messages: list[dict[str, Any]] | None
    variables: list[str | dict[str, Any]] | None
    labels: list[str]
    source: Source
    created_at: int


class Template(Shown):
    """A template with the version that was asked for. `labels`: label → version → weight."""

    object: Literal["template"] = "template"
    id: str
    name: str
    version: int
    newest_version: int
    description: str | None
    syntax: Literal["simple", "jinja2"]
    template: str | None
    messages: list[dict[str, Any]] | None
    variables: list[str | dict[str, Any]] | None
    labels: dict[str, dict[str, float]]
    source: Source
    created_at: int
    updated_at: int


class TemplatePage(Shown):
    object: Literal["list"] = "list"
    data: list[Template]
    has_more: bool


class VersionPage(Shown):
    object: Literal["list"] = "list"
    data: list[TemplateVersion]
    has_more: bool


class DeletedTemplate(Shown):
    id: str
    object: Literal["template.deleted"] = "template.deleted"
    deleted: Literal[True] = True


class Rendered(Shown):
    """`text` is null for a chat template; `messages` are what a model would be asked."""

    object: Literal["template.rendering"] = "template.rendering"
    id: str
    name: str
    version: int
    text: str | None
    messages: list[dict[str, Any]]


class Diff(Shown):
    """`unified` is empty when both are equal; `changes` are `{"field", "from", "to"}`."""

    object: Literal["template.diff"] = "template.diff"
    id: str
    name: str
    from_version: int
    to_version: int
    unified: str
    changes: list[dict[str, Any]]


class VersionStats(Shown):
    """Means are null where there is nothing to take the mean of; `rating` is 0 to 1."""

    version: int
    labels: list[str]
    calls: int
    successes: int
    errors: int
    error_rate: float | None
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    mean_cost_usd: str | None
    mean_latency_ms: float | None
    ratings: int
    rating: float | None
    last_used_at: int | None


class Stats(Shown):
    object: Literal["template.stats"] = "template.stats"
    id: str
    name: str
    data: list[VersionStats]


def template(head: Head, version: Version) -> Template:
    said: Any = version.content.model_dump(mode="json")
    return Template(
        id=head.id,
        name=head.name,
        version=version.number,
        newest_version=head.version,
        labels={
            label: {str(number): weight for number, weight in weights.items()}
            for label, weights in head.labels.items()
        },
        source=version.source,
        created_at=int(head.created_at),
        updated_at=int(version.created_at),
        **said,
    )


def template_version(head: Head, version: Version) -> TemplateVersion:
    said: Any = version.content.model_dump(mode="json")
    return TemplateVersion(
        id=f"{head.id}:{version.number}",
        version=version.number,
        labels=_labels(head, version.number),
        source=version.source,
        created_at=int(version.created_at),
        **said,
    )


def rendered(made: Rendering) -> Rendered:
    used = made.used
    return Rendered(
        id=used.id, name=used.name, version=used.version, text=made.text, messages=list(made.messages)
    )


def stats(head: Head, number: int, usage: Usage) -> VersionStats:
    return VersionStats(
        version=number,
        labels=_labels(head, number),
        calls=usage.calls,
        successes=usage.successes,
        errors=usage.errors,
        error_rate=_mean(usage.errors, usage.calls),
        cached=usage.cached,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=usd(usage.cost),
        mean_cost_usd=usd(Nano(usage.cost // usage.calls)) if usage.calls else None,
        mean_latency_ms=_mean(usage.latency_ms, usage.successes),
        ratings=usage.ratings,
        rating=_mean(usage.rating_sum, usage.ratings),
        last_used_at=None if usage.last_used_at is None else int(usage.last_used_at),
    )


def _labels(head: Head, number: int) -> list[str]:
    return sorted(label for label, weights in head.labels.items() if number in weights)


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 4) if count else None

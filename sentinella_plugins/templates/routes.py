"""`/v1/templates`. In every path `{template}` is an id or a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Response

from sentinella_plugins.kernel.access import Guard
from sentinella_plugins.kernel.call import Principal
from sentinella_plugins.kernel.errors import BadRequest
from sentinella_plugins.templates import public
from sentinella_plugins.templates.differences import changes
from sentinella_plugins.templates.models import (
    LabelChange,
    NewTemplate,
    RenderRequest,
    Rollback,
    TemplateChange,
    VersionNumber,
)
from sentinella_plugins.templates.service import TemplatesService

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="The last `id` seen.")]
AfterVersion = Annotated[str | None, Query(max_length=128, description="The last `id` seen, or its number.")]
Number = Annotated[VersionNumber | None, Query(description="Instead of the newest.")]
LabelName = Annotated[str | None, Query(max_length=128, description="The version that has this label.")]


def router(service: TemplatesService, guard: Guard) -> APIRouter:
    api = APIRouter(prefix="/v1/templates", tags=["templates"])
    _shelf(api, service, guard)
    _versions(api, service, guard)
    _rendering(api, service, guard)
    return api


def _shelf(api: APIRouter, service: TemplatesService, guard: Guard) -> None:
    @api.post("", status_code=201, summary="Create a template")
    async def create(body: NewTemplate, who: Principal = Depends(guard.member)) -> public.Template:
        return public.template(*await service.create(who.tenant, body))

    @api.get("", summary="List templates, each with its newest version")
    async def page(
        limit: Limit = 20, after: After = None, who: Principal = Depends(guard.member)
    ) -> public.TemplatePage:
        found, more = await service.page(who.tenant, limit=limit, after=after)
        return public.TemplatePage(data=[public.template(*one) for one in found], has_more=more)

    @api.get("/{template}", summary="Get a template")
    async def get(
        template: str,
        version: Number = None,
        label: LabelName = None,
        who: Principal = Depends(guard.member),
    ) -> public.Template:
        return public.template(*await service.get(who.tenant, template, version, label))

    @api.put("/{template}", summary="Make a new version; what is not named stays")
    async def change(
        template: str, body: TemplateChange, who: Principal = Depends(guard.member)
    ) -> public.Template:
        return public.template(*await service.change(who.tenant, template, body))

    @api.delete("/{template}", summary="Delete a template with all its versions")
    async def delete(template: str, who: Principal = Depends(guard.member)) -> public.DeletedTemplate:
        return public.DeletedTemplate(id=(await service.delete(who.tenant, template)).id)


def _versions(api: APIRouter, service: TemplatesService, guard: Guard) -> None:
    @api.get("/{template}/versions", summary="List the versions, newest first")
    async def versions(
        template: str,
        limit: Limit = 20,
        after: AfterVersion = None,
        who: Principal = Depends(guard.member),
    ) -> public.VersionPage:
        before = _number(after)
        head, found, more = await service.versions(who.tenant, template, limit=limit, before=before)
        return public.VersionPage(
            data=[public.template_version(head, version) for version in found], has_more=more
        )

    @api.get("/{template}/diff", summary="What changed between two versions")
    async def diff(
        template: str,
        from_version: Annotated[VersionNumber | None, Query(alias="from", description="Older.")] = None,
        to_version: Annotated[VersionNumber | None, Query(alias="to", description="Newer.")] = None,
        who: Principal = Depends(guard.member),
    ) -> public.Diff:
        head, old, new, text = await service.diff(who.tenant, template, from_version, to_version)
        return public.Diff(
            id=head.id,
            name=head.name,
            from_version=old.number,
            to_version=new.number,
            unified=text,
            changes=changes(old.content, new.content),
        )

    @api.post("/{template}/rollback", summary="Make a new version equal to an old one")
    async def roll_back(
        template: str, body: Rollback, who: Principal = Depends(guard.member)
    ) -> public.Template:
        return public.template(*await service.roll_back(who.tenant, template, body.version))

    @api.put("/{template}/labels", summary="Set, move and remove labels")
    async def label(
        template: str, body: LabelChange, who: Principal = Depends(guard.member)
    ) -> public.Template:
        return public.template(*await service.label(who.tenant, template, body))


def _rendering(api: APIRouter, service: TemplatesService, guard: Guard) -> None:
    @api.post("/{template}/render", summary="Render a version, without a model")
    async def render(
        template: str,
        body: Annotated[RenderRequest, Body()] = RenderRequest(),  # noqa: B008
        who: Principal = Depends(guard.member),
    ) -> public.Rendered:
        return public.rendered(await service.render(who.tenant, template, body))

    @api.get("/{template}/stats", summary="Usage and quality of every version")
    async def stats(template: str, who: Principal = Depends(guard.member)) -> public.Stats:
        head, found = await service.stats(who.tenant, template)
        data = [public.stats(head, number, usage) for number, usage in found]
        return public.Stats(id=head.id, name=head.name, data=data)

    @api.get("/{template}/export", summary="A version as a YAML file")
    async def export(
        template: str,
        version: Number = None,
        label: LabelName = None,
        who: Principal = Depends(guard.member),
    ) -> Response:
        head, found = await service.get(who.tenant, template, version, label)
        text = await service.written(head, found)
        headers = {"content-disposition": f'attachment; filename="{head.name}.yaml"'}
        return Response(text, media_type="application/yaml", headers=headers)


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    text = after.rpartition(":")[2]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest("`after` must be the `id` of a version.", param="after")
    return int(text)

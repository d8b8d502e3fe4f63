"""Templates in calls, in files, and how they are counted."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from sentinella_plugins.kernel.call import Outcome, Usage
from sentinella_plugins.kernel.errors import BadRequest, Conflict, Unavailable
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.templates.errors import TemplateInvalid, TemplateNotFound, TooMuch, VariableMissing
from sentinella_plugins.templates.models import LabelChange, NewTemplate, TemplateChange, UsedTemplate
from sentinella_plugins.templates.stage import TemplatesStage
from tests.unit.templates.conftest import GREETING, House, call, house

pytestmark = pytest.mark.asyncio
ALICE = {"name": "Alice", "company": "Acme Corp"}
SAID = "Hello Alice, welcome to Acme Corp!"


def use(**fields: Any) -> dict[str, Any]:
    return {"name": "greeting", "variables": ALICE, **fields}


async def update(found: House, text: str, **fields: Any) -> int:
    change = TemplateChange.model_validate({"template": text, **fields})
    return (await found.service.change("acme", "greeting", change))[0].version


async def test_rendered_messages_come_before_the_calls_own(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        template_id = await found.make()
        stage = TemplatesStage(found.service)
        mine = {"role": "user", "content": "{name} {{ 1 }}"}
        made = await stage.enter(call(use(), messages=[mine], temperature=0))
        assert made.body["messages"] == [{"role": "user", "content": SAID}, mine]
        assert made.body["temperature"] == 0
        assert made.note(UsedTemplate) == UsedTemplate(template_id, "greeting", 1)
        alone = await stage.enter(call(use(name=template_id)))
        assert alone.body["messages"] == [{"role": "user", "content": SAID}]
        plain = call(None, messages=[mine])
        assert await stage.enter(plain) is plain


async def test_versions_and_labels_in_calls(tmp_path: Path) -> None:
    async with house(tmp_path, cache_ttl_s=60) as found:
        await found.make(labels=["production"])
        await found.service.use(call(use()))
        assert await update(found, "Hi {name} of {company}") == 2

        async def said(**fields: Any) -> object:
            body: Any = (await found.service.use(call(use(**fields)))).body
            return body["messages"][0]["content"]

        assert await said() == "Hi Alice of Acme Corp"
        assert await said(label="production") == await said(version=1) == SAID
        for wrong in ({"version": 3}, {"label": "nothing"}, {"name": "nobody"}):
            with pytest.raises(TemplateNotFound):
                await said(**wrong)
        with pytest.raises(TemplateNotFound):
            await found.service.use(call(use(), tenant="other"))
        for malformed in ({"version": 1, "label": "production"}, {"other": 1}, {"variables": []}):
            with pytest.raises(BadRequest):
                await said(**malformed)
        with pytest.raises(VariableMissing):
            await said(variables={"name": "x"})


async def test_a_b_by_session(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        await found.make()
        await update(found, "Hi {name} of {company}")
        change = LabelChange.model_validate({"labels": {"ab": {"1": 0.5, "2": 0.5}}})
        await found.service.label("acme", "greeting", change)
        notes = [
            (await found.service.use(call(use(label="ab"), number=number))).note(UsedTemplate)
            for number in [*range(40), *range(40)]
        ]
        versions = [note.version for note in notes if note]
        assert versions[:40] == versions[40:] and set(versions) == {1, 2}


async def test_a_change_of_another_worker_is_seen_after_a_moment(tmp_path: Path) -> None:
    async with house(tmp_path, cache_ttl_s=1) as one:
        await one.make()
        await one.service.use(call(use()))
        other = type(one.service)(one.database, one.service._events, one.clock, one.service._config)
        await other.change("acme", "greeting", TemplateChange(template="new {name}{company}"))
        assert (await one.service.use(call(use()))).note(UsedTemplate) == UsedTemplate(
            (await one.service.get("acme", "greeting"))[0].id, "greeting", 1
        )
        one.clock.advance(1.1)
        note = (await one.service.use(call(use()))).note(UsedTemplate)
        assert note is not None and note.version == 2
        await other.close()


async def test_concurrent_changes_lose_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        await found.make()
        made = await asyncio.gather(*(update(found, f"{number} {{name}}") for number in range(25)))
        assert sorted(made) == list(range(2, 27))
        _, versions, _ = await found.service.versions("acme", "greeting", limit=100, before=None)
        texts = {version.content.template for version in versions}
        assert texts >= {f"{number} {{name}}" for number in range(25)}
        with pytest.raises(Conflict):
            await update(found, "late", expected_version=1)


async def test_a_change_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        await found.make(description="Says hello.")
        await update(found, "Bye {name}")
        _, version = await found.service.get("acme", "greeting")
        assert [variable.name for variable in version.content.variables or ()] == ["name", "company"]
        assert version.content.description == "Says hello."
        with pytest.raises(TemplateInvalid) as caught:
            await update(found, "Bye {nobody}")
        assert caught.value.param == "nobody"
        chat = TemplateChange.model_validate({"messages": [{"role": "system", "content": "{name}"}]})
        _, version = await found.service.change("acme", "greeting", chat)
        assert version.content.template is None and version.content.messages is not None
        with pytest.raises(TemplateInvalid):
            await found.service.change("acme", "greeting", TemplateChange.model_validate({"messages": None}))


async def test_usage_of_every_version(tmp_path: Path) -> None:
    async with house(tmp_path) as found:
        template_id = await found.make()
        stage = TemplatesStage(found.service)
        first = await stage.enter(call(use()))
        await update(found, "Hi {name} of {company}")
        second = await stage.enter(call(use()))
        good = Outcome(status="success", usage=Usage(prompt=5, completion=7), cost=Nano(30), latency_ms=100.0)
        for made, outcome in (
            (first, good),
            (first, Outcome(status="error", latency_ms=9_000.0)),
            (first, Outcome(status="cancelled")),
            (first, Outcome(status="refused")),
            (second, good),
            (second, Outcome(status="success", cached=True, latency_ms=2.0)),
            (call(None), good),
        ):
            await stage.leave(made, outcome)
        found.service.rate("acme", UsedTemplate(template_id, "greeting", 2), 1.0)
        found.service.rate("other", UsedTemplate(template_id, "greeting", 2), 0.0)
        await found.service.flush()
        _, stats = await found.service.stats("acme", "greeting")
        told = dict(stats)
        one, two = told[1], told[2]
        assert (one.calls, one.successes, one.errors, one.latency_ms, one.cost) == (3, 1, 1, 100.0, 30)
        assert (two.calls, two.successes, two.cached, two.prompt_tokens, two.completion_tokens) == (
            2,
            2,
            1,
            5,
            7,
        )
        assert (two.ratings, two.rating_sum, two.last_used_at) == (1, 1.0, found.clock.now())


async def test_usage_waits_for_the_database_and_is_bounded(tmp_path: Path) -> None:
    async with house(tmp_path, max_pending=1) as found:
        await found.make()
        await found.make(name="other")
        notes = [await found.service.use(call(use(name=name))) for name in ("greeting", "other")]
        for note in notes * 2:
            found.service.count(note, Outcome(status="success"))
        await found.database.close()
        await found.service.flush()
        assert [usage.calls for usage in found.service._tally.take().values()] == [2]


@pytest.mark.parametrize("policy", ["open", "closed"])
async def test_an_outage(tmp_path: Path, policy: str) -> None:
    async with house(tmp_path, on_failure=policy, cache_ttl_s=1) as found:
        await found.make()
        await found.service.use(call(use()))
        await found.database.close()
        found.clock.advance(2)
        if policy == "closed":
            with pytest.raises(Unavailable):
                await found.service.use(call(use()))
            return
        for _ in range(3):
            body: Any = (await found.service.use(call(use()))).body
            assert body["messages"][0]["content"] == SAID
        assert [event.part for event in found.failed] == ["templates"]
        with pytest.raises(Unavailable):
            await found.service.use(call(use(name="never-seen")))


FILE = """
name: greeting
template: |
  Hello {name}!
variables: [name]
labels: [production]
"""


def write(path: Path, text: str) -> None:
    """Another content is another signature, even within one tick of the file system's clock."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


async def versions(found: House, tenant: str = "acme", name: str = "greeting") -> list[tuple[int, str]]:
    _, known, _ = await found.service.versions(tenant, name, limit=100, before=None)
    return [(version.number, version.source) for version in known]


async def test_files_are_imported_and_reloaded(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "one.yaml", FILE)
    write(folder / "farewell.yml", "tenant: other\ntemplate: Bye!\n")
    (folder / "notes.txt").write_text("no template")
    async with house(tmp_path, folder=folder) as found:
        await found.service.open()
        assert await versions(found) == [(1, "file")]
        assert await versions(found, "other", "farewell") == [(1, "file")]
        await update(found, "Changed by hand {name}")
        await found.service._importer.look()
        write(folder / "one.yaml", FILE + "# touched\n")
        await found.service._importer.look()
        assert await versions(found) == [(2, "api"), (1, "file")]
        write(folder / "one.yaml", FILE.replace("Hello", "Good day,"))
        await found.service._importer.look()
        head, newest = await found.service.get("acme", "greeting", label="production")
        assert (head.version, newest.content.template) == (3, "Good day, {name}!\n")
        assert found.failed == []


async def test_two_workers_import_a_file_once(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "one.yaml", FILE)
    async with house(tmp_path, folder=folder) as found:
        again = type(found.service)(found.database, found.service._events, found.clock, found.service._config)
        await asyncio.gather(found.service.open(), again.open())
        assert await versions(found) == [(1, "file")]
        await again.close()


@pytest.mark.parametrize(
    "broken",
    [
        "template: [",
        "- a list",
        "name: greeting\ntemplate: '{x}'\nvariables: [y]\n",
        "name: greeting\nmodel: gpt-4o\n",
        "name: greeting\ntenant: nobody\ntemplate: x\n",
        "a: &a [1, 2]\nb: *a\n",
        "template: '" + "x" * 3_000 + "'",
        "name: other-name\ntemplate: '{{ 1'\nsyntax: jinja2\n",
    ],
)
async def test_a_broken_file_leaves_the_old_version(tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "one.yaml", FILE)
    async with house(tmp_path, folder=folder, max_file_bytes=2_000) as found:
        await found.service.open()
        write(folder / "one.yaml", broken)
        for _ in range(3):
            await found.service._importer.look()
        assert await versions(found) == [(1, "file")]
        assert len(found.failed) == 1 and "one.yaml" in found.failed[0].error
        write(folder / "one.yaml", FILE + "description: mended\n")
        await found.service._importer.look()
        assert await versions(found) == [(2, "file"), (1, "file")]


async def test_two_files_of_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.yaml", "b.yaml"):
        write(folder / name, FILE + f"description: {name}\n")
    async with house(tmp_path, folder=folder) as found:
        await found.service.open()
        await found.service._importer.look()
        _, version = await found.service.get("acme", "greeting")
        assert (version.number, version.content.description) == (1, "a.yaml")
        assert [event.error.count("a.yaml") for event in found.failed] == [1]


async def test_files_wait_for_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "one.yaml", FILE)
    async with house(tmp_path, folder=folder) as found:
        await found.database.close()
        await found.service._importer.look()
        assert found.failed == []
        assert found.service._importer._seen == {}


async def test_the_loop_reloads(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    async with house(tmp_path, folder=folder, reload_interval_s=0.01, flush_interval_s=0.01) as found:
        running = asyncio.create_task(found.service.run())
        folder.mkdir()
        write(folder / "one.yaml", FILE)
        async with asyncio.timeout(10):
            while not (await found.service.page("acme", limit=1, after=None))[0]:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await versions(found) == [(1, "file")]


async def test_limits_of_a_tenant(tmp_path: Path) -> None:
    async with house(tmp_path, max_per_tenant=1, max_template_chars=100, max_variables=2) as found:
        await found.make()
        with pytest.raises(Conflict, match="at most 1"):
            await found.make(name="second")
        await found.service.create("other", NewTemplate.model_validate(GREETING))
        with pytest.raises(TemplateInvalid, match="100"):
            await update(found, "x" * 101)
        with pytest.raises(TemplateInvalid, match="2 variables"):
            await update(found, "x", variables=["a", "b", "c"])


async def test_too_many_large_renderings_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, threads=1, max_waiting=2) as found:
        await found.make(template="{{ name }}{{ company }}", syntax="jinja2")
        large = use(variables={"name": "x" * 50_000, "company": ""})
        await found.service.use(call(large))
        results = await asyncio.gather(
            *(found.service.use(call(large)) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, Unavailable) for result in results) == 3
        await found.service.use(call(large))


async def test_what_is_too_much_for_the_loop_is_done_in_a_thread(tmp_path: Path) -> None:
    async with house(tmp_path, max_rendered_chars=200_000, max_loops=2_000) as found:
        source = "{% for i in range(name) %}{{ company }}{% endfor %}"
        await found.make(template=source, syntax="jinja2")
        made: Any = (await found.service.use(call(use(variables={"name": 1_500, "company": "x" * 100})))).body
        assert made["messages"][0]["content"] == "x" * 150_000
        with pytest.raises(TooMuch, match="loops"):
            await found.service.use(call(use(variables={"name": 2_500, "company": "x"})))
        with pytest.raises(TooMuch, match="200000"):
            await found.service.use(call(use(variables={"name": 1_500, "company": "x" * 200})))


async def test_a_folder_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    (folder / "gone.yaml").symlink_to(folder / "nowhere")
    write(folder / "one.yaml", FILE)
    async with house(tmp_path, folder=folder) as found:
        await found.service.open()
        assert await versions(found) == [(1, "file")]

"""The documents say everything there is, lead nowhere wrong, and their examples run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml

from sentinella_plugins.accounting.models import DIMENSIONS
from sentinella_plugins.kernel import errors, events
from sentinella_plugins.kernel.call import Status
from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.tenancy.limits import SPECS
from sentinella_plugins.tracing.metrics import Metrics
from tests.docs import examples
from tests.gateway import CACHING, Gateway, running_gateway

ROOT, DOCS = examples.ROOT, examples.ROOT / "docs"
REFERENCE = DOCS / "reference"
HOUSE = ROOT / "sentinella_plugins"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```", re.MULTILINE)
WITH_EXAMPLES = [path for path in examples.DOCUMENTS if any(block.runs for block in examples.blocks(path))]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _codes_raised_by_name() -> set[str]:
    """Every code given to an error where it is raised (`code="..."`) or listed among the upstream's rules."""
    found = set()
    for path in HOUSE.rglob("*.py"):
        if "demo" in path.relative_to(HOUSE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found |= {node.value.value} if isinstance(node.value.value, str) else set()
    return found


def _subclasses(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def test_every_error_code_is_explained() -> None:
    from sentinella_plugins.gateway import upstream_errors

    text = (REFERENCE / "errors.md").read_text()
    codes = {kind.code for kind in (errors.SentinellaError, *_subclasses(errors.SentinellaError))}  # type: ignore[attr-defined]
    codes |= {spec.code for spec in SPECS} | _codes_raised_by_name()
    codes |= {code for _, _, code in upstream_errors._BY_KIND}
    codes |= {code for _, code in map(upstream_errors.by_status, range(400, 600))}
    assert sorted(code for code in codes if f"| `{code}` |" not in text) == []


def test_every_upstream_error_has_its_status_in_the_table() -> None:
    from sentinella_plugins.gateway import upstream_errors

    text = (REFERENCE / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3})", text, re.MULTILINE))
    by_kind = {code: status for _, status, code in upstream_errors._BY_KIND}
    by_status = {code: status for status, code in map(upstream_errors.by_status, range(400, 600))}
    for code, status in (by_kind | by_status).items():
        assert rows.get(code) == str(status), code


OURS = [kind for kind in _subclasses(errors.SentinellaError) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", sorted(OURS, key=lambda kind: kind.__name__))
def test_every_error_has_its_status_in_the_table(kind: type[errors.SentinellaError]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3})", (REFERENCE / "errors.md").read_text(), re.MULTILINE))
    if kind is errors.LimitExceeded:
        assert {rows[spec.code] for spec in SPECS} == {"429"}
    elif kind is not errors.SettingsError:  # stops the start: it never travels over HTTP
        assert rows[kind.code] == str(kind.status)


def test_every_event_is_explained() -> None:
    text = (REFERENCE / "events.md").read_text()
    for event in _subclasses(events.Event):
        assert f"## `{event.__name__}`" in text
        section = text.split(f"## `{event.__name__}`")[1].split("\n## ")[0]
        fields = set(event.__dataclass_fields__)  # type: ignore[attr-defined]
        assert {name for name in fields - {"at", "tenant"} if f"`{name}`" not in section} == set()


def test_every_metric_is_explained() -> None:
    text = (REFERENCE / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(sentinella_\w+)` \|", text, re.MULTILINE))
    assert documented == set(Metrics(10).names())


def test_every_limit_and_its_code_is_explained() -> None:
    text = (REFERENCE / "limits.md").read_text()
    assert set(Limits.model_fields) == {spec.name for spec in SPECS}
    for spec in SPECS:
        assert re.search(rf"^\| `{spec.name}` \|.*`{spec.code}` \|$", text, re.MULTILINE), spec.name


def test_every_status_and_dimension_is_explained() -> None:
    text = (REFERENCE / "http-api.md").read_text()
    assert [name for name in (*get_args(Status), *DIMENSIONS) if f"`{name}`" not in text] == []


def test_every_command_and_option_is_explained() -> None:
    from typer.main import get_command

    from sentinella_plugins.cli.app import app

    text = (REFERENCE / "cli.md").read_text()
    missing = []
    for path, command in _commands(get_command(app), "sentinella"):
        if f"## `{path}`" not in text:
            missing.append(path)
            continue
        section = text.split(f"## `{path}`")[1].split("\n## ")[0]
        options = {
            option for parameter in command.params for option in parameter.opts if option.startswith("--")
        }
        shared = {"--url", "--key", "--json", "--help", "--install-completion", "--show-completion"}
        limits = {option for option in options if "per-" in option or option == "--max-concurrency"}
        own = options - shared - (limits if "limit options" in section else set())
        missing += [f"{path} {option}" for option in sorted(own) if f"`{option}" not in section]
    assert missing == []
    for name in Limits.model_fields:
        assert f"`--{name.removesuffix('_usd').replace('_', '-')}" in text


def _commands(command: object, path: str) -> Iterator[tuple[str, object]]:
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")
    if not children:
        yield path, command


def test_every_environment_variable_of_the_yaml_is_in_the_example() -> None:
    text = (ROOT / ".env.example").read_text()
    models = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())["model_list"]
    keys = {model["litellm_params"]["api_key"].removeprefix("os.environ/") for model in models}
    own = {
        "LITELLM_MASTER_KEY",
        "SENTINELLA_API_KEY",
        "SENTINELLA_METRICS_KEY",
        "SENTINELLA_PORT",
        "SENTINELLA_CONFIG",
    }
    own |= {"SENTINELLA_DATA_DIR", "SENTINELLA_URL", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR"}
    own |= {"LITELLM_LOCAL_MODEL_COST_MAP"} | set(re.findall(r'environ\.get\(\s*"(\w+)"', _source()))
    assert sorted(name for name in keys | own if not re.search(rf"^# ?{name}=", text, re.MULTILINE)) == []


def _source() -> str:
    return "\n".join(
        path.read_text() for path in HOUSE.rglob("*.py") if "demo" not in path.relative_to(HOUSE).parts
    )


def test_the_catalogue_of_models_is_listed() -> None:
    text = (DOCS / "how-to" / "providers-and-demo.md").read_text()
    models = yaml.safe_load((ROOT / "proxy_config.yaml").read_text())["model_list"]
    assert [model["model_name"] for model in models if f"`{model['model_name']}`" not in text] == []


@pytest.mark.parametrize("document", examples.DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(examples.prose(document)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in _LINK.findall(examples.prose(page)) if "://" not in link)
        waiting += [target for link in links if link and (target := (page.parent / link).resolve()).is_file()]
    assert sorted(_name(page) for page in set(examples.DOCUMENTS) - seen) == []


@pytest.mark.parametrize("document", examples.DOCUMENTS, ids=_name)
def test_fences_are_closed_and_marks_are_known(document: Path) -> None:
    found = examples.blocks(document)
    assert len(_FENCED.findall(document.read_text())) == 2 * len(found)
    known = {"run", "refused", "like", "config"}
    assert [block for block in found if not block.file and not set(block.marks) <= known] == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", examples.prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), env=CACHING) as gateway:
        yield gateway


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_EXAMPLES, ids=_name)
def test_examples_run(document: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    own = examples.files(document)
    if not own:
        gateway = request.getfixturevalue("common")
        _tidy(gateway)
        assert examples.run(document, gateway, tmp_path) == []
        return
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    with running_gateway(
        tmp_path, env=CACHING, yaml_changes=lambda config: examples.configure(document, config)
    ) as gateway:
        assert examples.run(document, gateway, tmp_path) == []


BROKEN = {
    "fails": "```bash run\nfalse\n```\n",
    "fails before its last line": "```bash run\nfalse\ntrue\n```\n",
    "is not there": "```bash run\ncurl http://127.0.0.1:8000/v1/models/nothing\n```\n",
    "is not refused": "```bash run refused\ntrue\n```\n",
    "raises": "```python run\nraise ValueError\n```\n",
    "has another shape": '```bash run\necho \'{"a": 1, "b": 2}\'\n```\n\n```json like\n{"a": 1}\n```\n',
}


@pytest.mark.slow
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_example_is_seen(text: str, common: Gateway, tmp_path: Path) -> None:
    document = tmp_path / "broken.md"
    document.write_text(text)
    assert len(examples.run(document, common, tmp_path)) >= 1


def _tidy(gateway: Gateway) -> None:
    gateway.demo.clear()
    for tenant in gateway.admin.get("/v1/tenants", params={"limit": "100"}).json()["data"]:
        if tenant["id"] != "default":
            gateway.admin.delete(f"/v1/tenants/{tenant['id']}").raise_for_status()


@pytest.mark.parametrize(
    ("shown", "real", "count"),
    [
        ({"a": 1}, {"a": 2.5}, 0),
        ({"a": None}, {"a": "x"}, 0),
        ({"a": {}}, {"a": {"b": 1}}, 0),
        ({"a": 1, "b": 2}, {"a": 1}, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 1),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, 2),
        ({"a": True}, {"a": 1}, 1),
        ({"a": "1"}, {"a": 1}, 1),
    ],
)
def test_the_comparison_sees_differences(shown: object, real: object, count: int) -> None:
    assert len(examples.differences(shown, real)) == count

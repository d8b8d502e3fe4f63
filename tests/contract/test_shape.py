"""The shape of the house: what the tools check, what is generated, what every room has."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from sentinella_plugins.api import application
from sentinella_plugins.app import Sentinella
from sentinella_plugins.bootstrap import Keys
from sentinella_plugins.cli.reference import Format, render
from sentinella_plugins.gateway import door, metered_request
from sentinella_plugins.kernel.call import Usage
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.kernel.money import Nano
from sentinella_plugins.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "sentinella_plugins"
ROOMS = sorted(path.parent for path in HOUSE.glob("*/stage.py"))
MIGRATIONS = HOUSE / "storage" / "migrations" / "versions"
FILES = [path for path in sorted(HOUSE.rglob("*.py")) if path.parent != MIGRATIONS]
LONGEST_FUNCTION = 60
LONGEST_FILE = 400
LONGEST_STAGE = 40


def _tool(*command: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_imports_go_down_only() -> None:
    _tool("lint-imports", "--no-cache")


def test_ruff_is_content() -> None:
    _tool("ruff", "check", "--no-cache", "sentinella_plugins")


def test_the_code_is_formatted() -> None:
    _tool("ruff", "format", "--check", "--no-cache", "sentinella_plugins")


@pytest.mark.slow
def test_types_are_right() -> None:
    _tool("mypy")


@pytest.mark.parametrize(
    ("form", "file"),
    [
        ("yaml", "config/sentinella.yaml"),
        ("schema", "config/sentinella.schema.json"),
        ("markdown", "docs/reference/settings.md"),
    ],
)
def test_what_is_generated_is_up_to_date(form: Format, file: str) -> None:
    assert (ROOT / file).read_text() == render(form), f"run: sentinella settings --format {form} > {file}"


def test_every_setting_is_described() -> None:
    assert _undescribed(Settings, "") == []


def _undescribed(model: type[BaseModel], path: str) -> list[str]:
    missing = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            missing += [] if inner.__doc__ else [path + name]
            missing += _undescribed(inner, f"{path}{name}.")
        elif not (field.description or "").strip():
            missing.append(path + name)
    return missing


def test_there_are_rooms() -> None:
    assert {room.name for room in ROOMS} >= {"accounting", "auth", "router", "tenancy", "tracing"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_its_parts(room: Path) -> None:
    names = {path.name for path in room.glob("*.py")}
    assert {"__init__.py", "config.py", "service.py", "stage.py"} <= names
    assert room.name in Settings.model_fields, "its slice of the settings is a section of its name"
    section = Settings.model_fields[room.name].annotation
    assert section is not None and section.__module__ == f"sentinella_plugins.{room.name}.config"
    assert section.model_config.get("extra") == "forbid" and section.model_config.get("frozen") is True
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), "the package says what it is for"
    assert len((room / "stage.py").read_text().splitlines()) <= LONGEST_STAGE


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_stands_in_the_documents(room: Path) -> None:
    assert f"`{room.name}`" in (ROOT / "docs" / "architecture" / "overview.md").read_text()


def test_every_package_stands_in_the_overview() -> None:
    text = (ROOT / "docs" / "architecture" / "overview.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract.get("exhaustive"))
    packages = {name.strip() for floor in floors for name in floor.split("|")}
    packages |= {path.parent.name for path in HOUSE.glob("*/__init__.py")}
    assert sorted(name for name in packages if f"`{name}`" not in text) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    long = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


class NoModels:
    def cards(self) -> tuple[ModelCard, ...]:
        return ()

    def find(self, name: str) -> None:
        return None

    async def count_prompt(self, model: str, body: object) -> int:
        return 0

    def cost(self, model: str, usage: Usage) -> Nano:
        return Nano(0)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    return application.build(Sentinella(settings, Keys("sk-master", "sk-member"), NoModels()))


def test_every_route_is_documented(api: FastAPI) -> None:
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    missing = []
    for path, operations in api.openapi()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path} has no summary"
            if f"### `{method.upper()} {path}`" not in text:
                missing.append(f"{method.upper()} {path}")
    assert missing == []


def test_every_query_parameter_is_documented(api: FastAPI) -> None:
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    missing = []
    for path, operations in api.openapi()["paths"].items():
        for method, operation in operations.items():
            section = text.split(f"### `{method.upper()} {path}`")[-1].split("\n### ")[0].split("\n## ")[0]
            names = [
                parameter["name"]
                for parameter in operation.get("parameters", ())
                if parameter["in"] == "query"
            ]
            missing += [f"{method} {path}?{name}" for name in names if f"`{name}`" not in section]
    assert missing == []


def test_every_field_of_a_request_is_documented(api: FastAPI) -> None:
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    schemas = api.openapi()["components"]["schemas"]
    fields = {
        name
        for kind in ("NewTenant", "TenantPatch", "NewKey", "Rotation")
        for name in schemas[kind]["properties"]
    }
    assert sorted(name for name in fields if f"`{name}`" not in text) == []


def test_every_model_route_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    routes = {door.CHAT, *metered_request.ROUTES.values()}
    assert sorted(route for route in routes if f"### `POST {route}`" not in text) == []


def test_every_added_request_field_is_documented() -> None:
    from sentinella_plugins.gateway import chat_request

    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    assert sorted(name for name in chat_request._OWN if f"`{name}`" not in text) == []


def test_every_route_of_ours_passes_the_door(api: FastAPI) -> None:
    paths = [path.replace("{", "").replace("}", "") for path in api.openapi()["paths"]]
    assert [path for path in paths if not door._OWN.match(path)] == []

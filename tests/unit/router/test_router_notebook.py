"""The notebook keeps up with the code: its cells compile, and what they import is there."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "notebooks" / "router.ipynb"
PLOTTING = {"matplotlib"}
MOST_BYTES = 600_000
CELLS = json.loads(FILE.read_text())["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def imported(source: str) -> Iterator[tuple[str, str | None]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((name.name, None) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)


@pytest.mark.parametrize("cell", CODE, ids=lambda cell: cell["id"])
def test_a_cell_compiles_and_was_run_without_an_error(cell: dict[str, object]) -> None:
    compile("".join(cell["source"]), str(cell["id"]), "exec")  # type: ignore[call-overload]
    assert cell["execution_count"] == CODE.index(cell) + 1
    assert all(output["output_type"] != "error" for output in cell["outputs"])  # type: ignore[attr-defined]


def test_what_is_imported_exists() -> None:
    found = [pair for cell in CODE for pair in imported("".join(cell["source"]))]
    ours = [(module, name) for module, name in found if module.startswith("sentinella_plugins")]
    others = {module.partition(".")[0] for module, _ in found} - {"sentinella_plugins"}
    assert len(ours) > 5
    assert others <= sys.stdlib_module_names | {"numpy"} | PLOTTING
    missing = [(m, name) for m, name in ours if name and not hasattr(importlib.import_module(m), name)]
    assert missing == []


def test_it_stays_small_and_names_no_folder_of_its_author() -> None:
    assert FILE.stat().st_size < MOST_BYTES
    outputs = json.dumps([cell["outputs"] for cell in CODE])
    assert "/home/" not in outputs and "/work" not in outputs and "/tmp" not in outputs  # noqa: S108

"""The examples in the documents, and how they are run.

A fenced block is marked by the word after its language, which GitHub does not show:

- `bash run`, `python run`: is executed and must succeed;
- `bash run refused`: is executed and must fail, because it shows a refusal;
- `json like`: has the shape of what the block before it printed;
- `python file=NAME`, `yaml config`: a file beside `proxy_config.yaml`, and what is added to that YAML. A
  document that has these gets a gateway of its own.

The blocks of one document run in one shell, in order, so variables live on. Documents speak to port 8000; the
runner puts the test gateway's address in its place.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.gateway import Gateway

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(?P<info>\w[^\n`]*)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LONGEST_S = 120


@dataclass(frozen=True)
class Block:
    language: str
    marks: tuple[str, ...]
    text: str
    line: int

    @property
    def runs(self) -> bool:
        return "run" in self.marks

    @property
    def file(self) -> str | None:
        return next((mark.removeprefix("file=") for mark in self.marks if mark.startswith("file=")), None)


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    found = []
    for match in _FENCE.finditer(text):
        language, *marks = (match["info"] or "").split()[:5] or [""]
        found.append(Block(language, tuple(marks), match["text"], text.count("\n", 0, match.start()) + 1))
    return found


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", document.read_text())


def files(document: Path) -> dict[str, str]:
    return {block.file: block.text for block in blocks(document) if block.file is not None}


def configure(document: Path, config: dict[str, Any]) -> None:
    """Adds the document's `yaml config` blocks to the proxy's YAML; lists are appended to."""
    for block in blocks(document):
        if "config" in block.marks:
            _merge(config, yaml.safe_load(block.text))


def run(document: Path, gateway: Gateway, folder: Path) -> list[str]:
    """Runs the document's blocks in `folder`; what is wrong with them, if anything."""
    shown = blocks(document)
    work = _workplace(folder, gateway)
    (work / "example.sh").write_text(_script(document, shown, gateway))
    done = subprocess.run(
        ["bash", "example.sh"],
        cwd=work,
        env=_environment(gateway, work),
        capture_output=True,
        timeout=_LONGEST_S,
    )
    if done.returncode:
        where = (work / "last").read_text().strip()
        return [f"{where}: exit code {done.returncode}\n{done.stderr.decode()}"]
    wrong = []
    for index, block in enumerate(shown):
        if "like" in block.marks:
            real = json.loads((work / f"out.{index - 1}").read_text())
            found = differences(json.loads(block.text), real)
            wrong += [f"{document.name}:{block.line}: {difference}" for difference in found]
    return wrong


def differences(shown: Any, real: Any, where: str = "$") -> list[str]:
    """Where the shape of a documented answer is not that of the real one. `null` fits everything,
    and `{}` every object."""
    if shown is None or real is None:
        return []
    if isinstance(shown, dict) and isinstance(real, dict):
        if not shown:
            return []
        wrong = [f"{where}.{name} is not in the answer" for name in sorted(shown.keys() - real.keys())]
        wrong += [f"{where}.{name} is not in the document" for name in sorted(real.keys() - shown.keys())]
        for name in shown.keys() & real.keys():
            wrong += differences(shown[name], real[name], f"{where}.{name}")
        return wrong
    if isinstance(shown, list) and isinstance(real, list):
        return differences(shown[0], real[0], f"{where}[0]") if shown and real else []
    kinds = {type(shown), type(real)}
    if len(kinds) == 1 or kinds == {int, float}:
        return []
    return [f"{where} is {type(shown).__name__} in the document and {type(real).__name__} in the answer"]


def _script(document: Path, shown: list[Block], gateway: Gateway) -> str:
    lines = ["set -euo pipefail"]
    for index, block in enumerate(shown):
        if not block.runs:
            continue
        text = block.text
        for address in ("http://127.0.0.1:8000", "http://localhost:8000"):
            text = text.replace(address, gateway.url)
        lines += [f"echo '{document.name}:{block.line}' > last", f"exec > out.{index}"]
        if block.language == "python":
            text = f"python - <<'END_OF_EXAMPLE'\n{text}END_OF_EXAMPLE\n"
        if "refused" in block.marks:
            text = f"if (\n{text}); then echo 'this should have been refused' >&2; exit 1; fi\n"
        lines.append(text)
    return "\n".join(lines)


def _workplace(folder: Path, gateway: Gateway) -> Path:
    """A folder like the project's after `scripts/serve`."""
    work = folder / "work"
    data = work / ".sentinella"
    data.mkdir(parents=True)
    (data / "keys.json").write_text(
        json.dumps({"master_key": gateway.master_key, "api_key": gateway.api_key})
    )
    (data / "demo.json").write_text(json.dumps({"url": gateway.demo.url}))
    (work / ".venv").symlink_to(sys.prefix)
    for name in ("proxy_config.yaml", "config", "scripts", "pyproject.toml"):
        (work / name).symlink_to(ROOT / name)
    (work / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 60\n")
    return work


def _environment(gateway: Gateway, work: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(work),
        "CURL_HOME": str(work),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "SENTINELLA_PORT": str(gateway.port),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def _merge(config: dict[str, Any], added: dict[str, Any]) -> None:
    for name, value in added.items():
        if isinstance(value, dict) and isinstance(config.get(name), dict):
            _merge(config[name], value)
        elif isinstance(value, list) and isinstance(config.get(name), list):
            config[name] = config[name] + [item for item in value if item not in config[name]]
        else:
            config[name] = value

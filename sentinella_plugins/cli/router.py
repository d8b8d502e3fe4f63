"""`sentinella router`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="How models are chosen, and what was learned.")
_QUALITY = "sentinella_plugins.cli.router_quality"
Objective = Annotated[
    str | None, typer.Option("--objective", help="balanced, cheapest, best or fastest.", show_default=False)
]


@app.command()
def explain(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What would be asked; nothing is sent to a model.", show_default=False),
    ] = None,
    request_id: Annotated[
        str | None, typer.Option("--request-id", help="A call that was made, instead of a prompt.")
    ] = None,
    objective: Objective = None,
    max_cost: Annotated[float | None, typer.Option("--max-cost", help="US dollars for the call.")] = None,
    max_latency: Annotated[float | None, typer.Option("--max-latency", help="Milliseconds.")] = None,
    min_quality: Annotated[float | None, typer.Option("--min-quality", help="0 to 1.")] = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Which model a prompt would go to and why, or why a call went to its model."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    if (prompt is None) == (request_id is None):
        raise typer.BadParameter("Give either a prompt or --request-id.")
    gateway = Gateway(url, key, "member")
    if request_id is not None:
        found = gateway.call("GET", "/v1/router/explain", params={"request_id": request_id})
    else:
        bounds = {
            "objective": objective,
            "max_cost_usd": max_cost,
            "max_latency_ms": max_latency,
            "min_quality": min_quality,
        }
        routing = {name: value for name, value in bounds.items() if value is not None}
        body = {"messages": [{"role": "user", "content": prompt}], "routing": routing}
        found = gateway.call("POST", "/v1/router/explain", body=body)
    show.raw(found) if as_json else _show(found)


@app.command()
def stats(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """How the models do lately, experiments and shadows."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    found = Gateway(url, key).call("GET", "/v1/router/stats")
    if as_json:
        return show.raw(found)
    show.facts({name: found.get(name) for name in ("strategy", "predictor", "problem")})
    for part in ("models", "experiments", "shadow"):
        rows = found.get(part) or []
        if rows:
            typer.echo(f"\n{part}")
            show.table(rows, {name: _field(name) for name in rows[0]})


@app.command()
def calibrate(
    results: Annotated[
        Path,
        typer.Option("--results", exists=True, dir_okay=False, help="JSON of rows {prompt, model, score}."),
    ],
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Another tenant; needs an admin's key.")
    ] = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Let your own evaluation results steer the routing of your tenant."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    body: dict[str, Any] = {"rows": _rows(results)}
    gateway = Gateway(url, key, "member" if tenant is None else "admin")
    if tenant is not None:
        body["tenant"] = tenant
    done = gateway.call("POST", "/v1/router/calibrate", body=body)
    if as_json:
        return show.raw(done)
    show.table(done["models"], {name: _field(name) for name in ("model", "rows", "mean_score")})
    if done["unknown_models"]:
        typer.echo(f"not in the catalogue: {', '.join(done['unknown_models'])}")


def _rows(file: Path) -> list[dict[str, Any]]:
    """A list, `{"rows": [...]}` or a JSON object on each line; other fields of a row are left out."""
    import json

    from sentinella_plugins.cli.client import fail

    try:
        text = file.read_text()
        try:
            content = json.loads(text)
        except ValueError:
            content = [json.loads(line) for line in text.splitlines() if line.strip()]
        rows = content.get("rows", [content]) if isinstance(content, dict) else content
        return [{name: row[name] for name in ("prompt", "model", "score")} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"`{file}` does not hold rows of prompt, model and score ({type(error).__name__}: {error}).")


def _show(found: dict[str, Any]) -> None:
    from sentinella_plugins.cli import show

    features = found.get("features") or {}
    facts = {name: found.get(name) for name in ("model", "reason", "objective", "predictor")}
    facts |= {name: features.get(name) for name in ("task", "complexity", "language", "prompt_tokens")}
    show.facts(facts)
    numbers = ("utility", "quality", "cost_usd", "latency_ms")
    columns = {name: _field(name) for name in ("model", "provider", *numbers, "excluded")}
    typer.echo()
    show.table(found.get("candidates") or [], columns, numbers=numbers)


def _field(name: str) -> Any:
    return lambda row: row.get(name)


def _add_quality_commands() -> None:
    if find_spec(_QUALITY) is None:
        return
    quality = import_module(_QUALITY)
    app.command("train")(quality.train_command)
    app.command("evaluate")(quality.evaluate_command)


_add_quality_commands()

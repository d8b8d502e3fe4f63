"""All commands in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sentinella_plugins.cli import cache, keys, router, sessions, talk, templates, tenants, tools
from sentinella_plugins.cli.options import AsJson

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sentinella: an AI gateway for companies. Start one with `sentinella serve`.",
)


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Default: SENTINELLA_PORT, else 8000.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    config: Annotated[Path | None, typer.Option(help="The proxy's YAML.")] = None,
) -> None:
    """Start the gateway."""
    from sentinella_plugins.cli.serve import serve as run

    run(port, host, workers, config)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check settings and everything the gateway depends on."""
    from sentinella_plugins.cli.doctor import doctor as run

    run(as_json)


@app.command()
def settings(
    form: Annotated[
        Literal["yaml", "markdown", "schema"], typer.Option("--format", help="How to write it.")
    ] = "yaml",
) -> None:
    """Every setting with its default and what it does."""
    from sentinella_plugins.cli.reference import render

    print(render(form), end="")


app.command()(talk.chat)
app.command()(talk.models)
app.command()(talk.usage)
app.command()(talk.health)
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(cache.app, name="cache")
app.add_typer(router.app, name="router")
app.add_typer(sessions.app, name="sessions")
app.add_typer(templates.app, name="templates")
app.add_typer(tools.app, name="tools")

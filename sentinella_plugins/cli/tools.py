"""`sentinella tools`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="Tools that the gateway runs for models.")
Name = Annotated[str, typer.Argument(help="Name of the tool.", show_default=False)]


@app.command("list")
def list_(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """List the tools that the key's calls may use."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    page = Gateway(url, key, "member").pages("/v1/tools")
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "name": lambda row: row["name"],
            "kind": lambda row: row["kind"],
            "scope": lambda row: row["scope"],
            "leads to": lambda row: row.get("url") or row.get("function"),
            "description": lambda row: row.get("description"),
        },
    )


@app.command()
def show(name: Name, url: o.Url = None, key: o.Key = None) -> None:
    """Show a tool as JSON; its secrets are null."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    show.raw(Gateway(url, key, "member").call("GET", _path(name)))


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(help="YAML or JSON of the tool; `-` reads standard input.", allow_dash=True),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the tool of that name.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Register a tool."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    tool = _read(file)
    gateway = Gateway(url, key, "member")
    name = str(tool.get("name") or "")
    if replace:
        made = gateway.call("PUT", _path(name), body=tool)
    else:
        made = gateway.call("POST", "/v1/tools", body=tool)
    if as_json:
        return show.raw(made)
    typer.echo(f"{'replaced' if replace else 'registered'} {made['name']} (version {made['version']})")


@app.command()
def test(
    name: Name,
    arguments: Annotated[str, typer.Argument(help="Its arguments as JSON.")] = "{}",
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Run a tool by hand. Of an MCP server's name: list what it offers."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    body = {"arguments": _object(arguments)}
    result = Gateway(url, key, "member").call("POST", f"{_path(name)}/test", body=body)
    if as_json:
        show.raw(result)
    else:
        typer.echo("\n".join(result.get("functions") or [result["content"]]))
        typer.echo(f"{'ok' if result['ok'] else result['error']}, {result['ms']:.0f} ms", err=True)
    if not result["ok"]:
        raise typer.Exit(1)


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Delete a tool."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    if not yes:
        typer.confirm(f"Delete tool `{name}`?", abort=True, err=True)
    answer = Gateway(url, key, "member").call("DELETE", _path(name))
    if as_json:
        return show.raw(answer)
    typer.echo(f"deleted {name}")


def _path(name: str) -> str:
    from sentinella_plugins.cli.client import segment

    return f"/v1/tools/{segment(name)}"


def _read(file: Path) -> dict[str, Any]:
    import yaml

    from sentinella_plugins.cli.client import fail

    try:
        text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text()
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        fail(f"`{file}` cannot be read ({type(error).__name__}).")
    if not isinstance(content, dict):
        fail(f"`{file}` does not hold a tool.")
    return content


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"`{text}` is no JSON object.", param_hint="arguments")
    return value

"""`sentinella sessions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="Conversations that the gateway remembers.")
SessionId = Annotated[str, typer.Argument(help="The `session_id`.", show_default=False)]
Whose = Annotated[str | None, typer.Option("--tenant", help="Another tenant than the key's own.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_(
    tenant: Whose = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="The newest so many.")] = 20,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """List the newest sessions."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    page = Gateway(url, key).call("GET", _path(), params={"limit": str(limit), **_of(tenant)})
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "id": lambda row: row["id"],
            "turns": lambda row: row.get("turns"),
            "messages": lambda row: row.get("messages"),
            "summarised": lambda row: row.get("summarised_messages"),
            "created": lambda row: show.when(row.get("created_at")),
            "last turn": lambda row: show.when(row.get("updated_at")),
        },
        numbers=("turns", "messages", "summarised"),
    )


@app.command("show")
def show_(
    session_id: SessionId,
    tenant: Whose = None,
    last: Annotated[int, typer.Option("--last", min=1, max=100, help="Its latest messages.")] = 20,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Show a session and its latest messages."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    gateway = Gateway(url, key)
    session = gateway.call("GET", _path(session_id), params=_of(tenant))
    query = {"limit": str(last), "order": "desc", **_of(tenant)}
    page = gateway.call("GET", _path(session_id, "messages"), params=query)
    if as_json:
        return show.raw({**session, "latest": page["data"][::-1]})
    show.facts({name: session.get(name) for name in ("id", "turns", "messages", "bytes", "summary")})
    typer.echo()
    rows = page["data"][::-1]
    show.table(rows, {"at": _at, "role": lambda row: row["role"], "says": _says})


@app.command()
def export(
    session_id: SessionId,
    tenant: Whose = None,
    form: Annotated[Literal["jsonl", "json"], typer.Option("--format", help="How to write it.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, instead of stdout.")] = None,
    url: o.Url = None,
    key: o.Key = None,
) -> None:
    """Write a whole session as JSON lines or as one object."""
    from sentinella_plugins.cli.client import Gateway

    text = Gateway(url, key).text(_path(session_id, "export"), {"format": form, **_of(tenant)})
    if output is None:
        return typer.echo(text, nl=form == "json")
    output.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {output}")


@app.command()
def delete(
    session_id: Annotated[str | None, typer.Argument(help="The `session_id`.", show_default=False)] = None,
    tenant: Whose = None,
    everything: Annotated[bool, typer.Option("--all", help="All sessions of the tenant.")] = False,
    yes: Yes = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Delete a session, or all of them."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    if (session_id is None) != everything:
        raise typer.BadParameter("Name a session, or say --all.")
    if everything and not yes:
        typer.confirm("Delete all sessions?", abort=True)
    confirm = {"confirm": "true"} if everything else {}
    answer = Gateway(url, key).call("DELETE", _path(session_id), params={**confirm, **_of(tenant)})
    if as_json:
        return show.raw(answer)
    typer.echo(f"deleted {session_id if session_id is not None else answer.get('count')}")


def _path(session_id: str | None = None, part: str | None = None) -> str:
    from sentinella_plugins.cli.client import segment

    path = "/v1/sessions" if session_id is None else f"/v1/sessions/{segment(session_id)}"
    return path if part is None else f"{path}/{part}"


def _of(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"tenant": tenant}


def _at(row: Any) -> str:
    from sentinella_plugins.cli import show

    return show.when(row.get("created_at"))


def _says(row: Any) -> str:
    content = row["message"].get("content")
    parts = content if isinstance(content, list) else [{"text": content or ""}]
    calls = [f"[calls {call['function']['name']}]" for call in row["message"].get("tool_calls") or ()]
    return "\n".join([*(str(part.get("text") or f"[{part.get('type')}]") for part in parts), *calls])

"""`sentinella usage`, `models`, `chat` and `health`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o


def usage(
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant instead of all.")] = None,
    by: Annotated[str, typer.Option("--by", help="Some of day,model,key,tenant,provider.")] = "day,model",
    since: Annotated[str | None, typer.Option("--since", help="ISO date or Unix seconds.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="ISO date (included) or Unix seconds.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout and nothing else.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Requests, tokens and cost."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    given = {"tenant": tenant, "group_by": by, "start": since, "end": until}
    params = {name: value for name, value in given.items() if value is not None}
    gateway = Gateway(url, key)
    if as_csv:
        return typer.echo(gateway.text("/v1/usage", {**params, "format": "csv"}), nl=False)
    report = gateway.call("GET", "/v1/usage", params=params)
    if as_json:
        return show.raw(report)
    groups = [name.strip() for name in by.split(",") if name.strip()]
    sums = ("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd")
    rows = [
        *report["data"],
        {**dict.fromkeys(groups, ""), **dict.fromkeys(groups[:1], "total"), **report["total"]},
    ]
    show.table(rows, {name: _field(name) for name in (*groups, *sums)}, numbers=sums)


def models(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """The models this key may use."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    page = Gateway(url, key, "member").call("GET", "/v1/models")
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "id": _field("id"),
            "provider": lambda row: row.get("provider") or row.get("owned_by"),
            "context": _field("context_window"),
            "deprecated": lambda row: "yes" if row.get("deprecated") else "",
        },
        numbers=("context",),
    )


def chat(
    prompt: Annotated[str, typer.Argument(help="What to say.", show_default=False)],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Which model; `auto` lets the gateway choose.")
    ] = "auto",
    stream: Annotated[bool, typer.Option("--stream", help="Show the answer while it is written.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Ask a model something."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    gateway = Gateway(url, key, "member")
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if stream:
        return _stream(gateway.events("/v1/chat/completions", {**body, "stream": True}), as_json)
    answer = gateway.call("POST", "/v1/chat/completions", body=body)
    if as_json:
        return show.raw(answer)
    typer.echo(answer["choices"][0]["message"].get("content") or "")


def health(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """Whether the gateway and its parts are well."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    answer = Gateway(url, key).call("GET", "/health")
    show.raw(answer) if as_json else show.facts(answer)
    if answer.get("status") != "healthy":
        raise typer.Exit(1)


def _stream(chunks: Any, as_json: bool) -> None:
    import json

    from sentinella_plugins.cli.client import fail

    for chunk in chunks:
        if chunk.get("error"):
            fail(str(chunk["error"].get("message")))
        if as_json:
            typer.echo(json.dumps(chunk, ensure_ascii=False))
        else:
            typer.echo(
                "".join((choice.get("delta") or {}).get("content") or "" for choice in chunk["choices"]),
                nl=False,
            )
    if not as_json:
        typer.echo()


def _field(name: str) -> Any:
    return lambda row: row.get(name)

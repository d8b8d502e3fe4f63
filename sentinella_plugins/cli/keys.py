"""`sentinella keys`."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="API keys of a tenant.")
KeyId = Annotated[str, typer.Argument(help="Id of the key, `key_...`.", show_default=False)]
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@app.command("list")
def list_(tenant: o.Tenant, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """List the keys of a tenant."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    page = Gateway(url, key).pages(_path(tenant))
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "id": lambda row: row["id"],
            "name": lambda row: row.get("name"),
            "key": lambda row: row.get("hint"),
            "role": lambda row: row.get("role"),
            "models": lambda row: show.names(row.get("models")),
            "created": lambda row: show.when(row.get("created_at")),
            "expires": lambda row: show.when(row.get("expires_at")),
            "last used": lambda row: show.when(row.get("last_used_at")),
        },
    )


@app.command()
def create(
    tenant: o.Tenant,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "default",
    role: Annotated[str, typer.Option("--role", help="`member` or `admin`.")] = "member",
    model: o.Models = None,
    expires_in: Annotated[str | None, typer.Option("--expires-in", help="Such as 12h or 90d.")] = None,
    requests_per_minute: o.PerMinute = None,
    requests_per_hour: o.PerHour = None,
    requests_per_day: o.PerDay = None,
    tokens_per_minute: o.Tokens = None,
    cost_per_day: o.CostDay = None,
    cost_per_month: o.CostMonth = None,
    max_concurrency: o.Concurrency = None,
    quiet: o.Quiet = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Create a key. It is shown this once and never again."""
    from sentinella_plugins.cli.client import Gateway

    limits = o.limits(
        requests_per_minute,
        requests_per_hour,
        requests_per_day,
        tokens_per_minute,
        cost_per_day,
        cost_per_month,
        max_concurrency,
    )
    body: dict[str, object] = {"name": name, "role": role}
    if model:
        body["models"] = model
    if limits:
        body["limits"] = limits
    if expires_in:
        body["expires_at"] = int(time.time()) + _seconds(expires_in, "--expires-in")
    _print(Gateway(url, key).call("POST", _path(tenant), body=body), quiet=quiet, as_json=as_json)


@app.command()
def rotate(
    tenant: o.Tenant,
    key_id: KeyId,
    grace: Annotated[
        str, typer.Option("--grace", help="How long the old key stays valid, such as 30m or 1d.")
    ] = "0s",
    quiet: o.Quiet = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Replace a key by a new one, which is shown this once."""
    from sentinella_plugins.cli.client import Gateway

    body = {"grace_s": _seconds(grace, "--grace")}
    answer = Gateway(url, key).call("POST", f"{_path(tenant, key_id)}/rotate", body=body)
    _print(answer, quiet=quiet, as_json=as_json)


@app.command()
def revoke(
    tenant: o.Tenant, key_id: KeyId, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False
) -> None:
    """Revoke a key at once."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    answer = Gateway(url, key).call("DELETE", _path(tenant, key_id))
    if as_json:
        return show.raw(answer)
    typer.echo(f"revoked {key_id}")


def _path(tenant: str, key_id: str | None = None) -> str:
    from sentinella_plugins.cli.client import segment

    path = f"/v1/tenants/{segment(tenant)}/keys"
    return path if key_id is None else f"{path}/{segment(key_id)}"


def _seconds(text: str, flag: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if match is None:
        raise typer.BadParameter(f"`{text}` is not a duration such as 30m, 12h or 90d.", param_hint=flag)
    return int(match[1]) * _UNITS[match[2] or "s"]


def _print(issued: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    from sentinella_plugins.cli import show

    if as_json:
        return show.raw(issued)
    if not quiet:
        shown = {"id": issued["id"], "name": issued.get("name"), "role": issued.get("role")}
        show.facts({**shown, "expires": show.when(issued.get("expires_at"))})
        typer.echo("\nKeep this key; it is not shown again:")
    typer.echo(issued["key"])

"""`sentinella tenants`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="Tenants and their limits.")
Name = Annotated[str | None, typer.Option("--name", help="Name for humans.")]


@app.command("list")
def list_(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """List all tenants."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    page = Gateway(url, key).pages("/v1/tenants")
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "id": lambda row: row["id"],
            "name": lambda row: row.get("name"),
            "requests/min": lambda row: show.limit(_limits(row).get("requests_per_minute")),
            "usd/day": lambda row: show.limit(_limits(row).get("cost_per_day_usd")),
            "usd/month": lambda row: show.limit(_limits(row).get("cost_per_month_usd")),
            "models": lambda row: show.names(row.get("models")),
            "created": lambda row: show.when(row.get("created_at")),
        },
        numbers=("requests/min", "usd/day", "usd/month"),
    )


@app.command()
def show(tenant: o.Tenant, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """Show a tenant with all its limits."""
    from sentinella_plugins.cli.client import Gateway

    _print(Gateway(url, key).call("GET", _path(tenant)), as_json)


@app.command()
def create(
    tenant: o.Tenant,
    name: Name = None,
    model: o.Models = None,
    requests_per_minute: o.PerMinute = None,
    requests_per_hour: o.PerHour = None,
    requests_per_day: o.PerDay = None,
    tokens_per_minute: o.Tokens = None,
    cost_per_day: o.CostDay = None,
    cost_per_month: o.CostMonth = None,
    max_concurrency: o.Concurrency = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Create a tenant. Limits that are not given are unlimited."""
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
    body = {"id": tenant, **_body(name, model, limits)}
    _print(Gateway(url, key).call("POST", "/v1/tenants", body=body), as_json)


@app.command()
def update(
    tenant: o.Tenant,
    name: Name = None,
    model: o.Models = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Allow every model.")] = False,
    requests_per_minute: o.PerMinute = None,
    requests_per_hour: o.PerHour = None,
    requests_per_day: o.PerDay = None,
    tokens_per_minute: o.Tokens = None,
    cost_per_day: o.CostDay = None,
    cost_per_month: o.CostMonth = None,
    max_concurrency: o.Concurrency = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Change a tenant. What is not given stays as it is."""
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
    body = _body(name, model, limits)
    if all_models:
        body["models"] = None
    if not body:
        raise typer.BadParameter("Nothing to change: give at least one option.")
    _print(Gateway(url, key).call("PATCH", _path(tenant), body=body), as_json)


@app.command()
def delete(
    tenant: o.Tenant,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Delete a tenant and all its keys."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    if not yes:
        typer.confirm(f"Delete tenant `{tenant}` and all its keys?", abort=True, err=True)
    answer = Gateway(url, key).call("DELETE", _path(tenant))
    if as_json:
        return show.raw(answer)
    typer.echo(f"deleted {tenant}")


def _path(tenant: str) -> str:
    from sentinella_plugins.cli.client import segment

    return f"/v1/tenants/{segment(tenant)}"


def _body(name: str | None, models: list[str] | None, limits: dict[str, object]) -> dict[str, object]:
    given: dict[str, object] = {"name": name, "models": models or None, "limits": limits or None}
    return {field: value for field, value in given.items() if value is not None}


def _limits(tenant: Any) -> dict[str, object]:
    return tenant.get("limits") or {}


def _print(tenant: dict[str, Any], as_json: bool) -> None:
    from sentinella_plugins.cli import show

    if as_json:
        return show.raw(tenant)
    show.facts(
        {
            "id": tenant["id"],
            "name": tenant.get("name"),
            "models": show.names(tenant.get("models")),
            **{name: show.limit(value) for name, value in _limits(tenant).items()},
            "created": show.when(tenant.get("created_at")),
        }
    )

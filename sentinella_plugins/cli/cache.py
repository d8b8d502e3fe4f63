"""`sentinella cache`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o
from sentinella_plugins.cli.cache_evaluate import evaluate_command

app = typer.Typer(no_args_is_help=True, help="Answers that are kept to be given again.")
app.command("evaluate")(evaluate_command)
Whose = Annotated[str | None, typer.Option("--tenant", help="Another tenant than the key's own.")]


@app.command()
def stats(tenant: Whose = None, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """What the cache holds, how often it answered, and how often it was wrong."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    told = Gateway(url, key).call("GET", "/v1/cache", params=_of(tenant))
    if as_json:
        return show.raw(told)
    show.facts(
        {
            "tenant": told["tenant"],
            "entries": told["entries"],
            "bytes": told["bytes"],
            "exact hits": told["hits"]["exact"],
            "semantic hits": told["hits"]["semantic"],
            "misses": told["misses"],
            "hit rate": _percent(told["hit_rate"]),
            "saved usd": told["saved_usd"],
            "wrong semantic hits": _errors(told["errors"]),
            "passed by": _counts(told["bypassed"]),
            "not kept": _counts(told["not_kept"]),
            "lag s": told["lag_s"],
        }
    )


@app.command()
def invalidate(
    entry: Annotated[str | None, typer.Option("--id", help="Id of an entry.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Tag of `metadata.cache_tags`.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model that answered.")] = None,
    older_than_s: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Age in seconds.", metavar="SECONDS")
    ] = None,
    similar_to: Annotated[str | None, typer.Option("--similar-to", help="A question.")] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="Least similarity to it.")
    ] = 0.85,
    everything: Annotated[bool, typer.Option("--all", help="Drop all entries of the tenant.")] = False,
    tenant: Whose = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Drop kept answers. What fits all given options goes."""
    from sentinella_plugins.cli import show
    from sentinella_plugins.cli.client import Gateway

    given: dict[str, object] = {
        "id": entry,
        "tag": tag,
        "model": model,
        "older_than_s": older_than_s,
        "similar_to": similar_to,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if bool(body) is everything:
        raise typer.BadParameter("Give `--all`, or at least one of the other conditions.")
    gateway, params = Gateway(url, key), _of(tenant)
    if everything:
        told = gateway.call("DELETE", "/v1/cache", params=params)
    else:
        if similar_to is not None:
            body["threshold"] = threshold
        told = gateway.call("POST", "/v1/cache/invalidate", body=body, params=params)
    if as_json:
        return show.raw(told)
    typer.echo(f"dropped {told['invalidated']}")


def _of(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"tenant": tenant}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _errors(errors: dict[str, Any]) -> str:
    if errors["rate"] is None:
        return "none checked yet"
    low, high = _percent(errors["low"]), _percent(errors["high"])
    return f"{_percent(errors['rate'])} ({low} to {high}; {errors['wrong']} of {errors['checked']} checked)"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

"""`sentinella templates`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sentinella_plugins.cli import options as o

app = typer.Typer(no_args_is_help=True, help="Prompt templates and their versions.")
Template = Annotated[str, typer.Argument(help="Name or id of the template.", show_default=False)]
File = Annotated[
    Path, typer.Argument(help="YAML of the template; `-` reads standard input.", allow_dash=True)
]
Text = Annotated[str | None, typer.Option("--text", help="The text of the template.")]
FromFile = Annotated[Path | None, typer.Option("--file", "-f", help="A file with the text.")]
Variable = Annotated[
    list[str] | None, typer.Option("--variable", "-v", help="Name of a variable; repeat it for more.")
]
Jinja = Annotated[bool, typer.Option("--jinja2", help="The text is Jinja2.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Put this label on the new version; repeat it for more.")
]
VersionOption = Annotated[int | None, typer.Option("--version", help="Instead of the newest.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="The version that has this label.")]


@app.command("list")
def list_(url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """List all templates."""
    from sentinella_plugins.cli import show

    page = _gateway(url, key).pages("/v1/templates")
    if as_json:
        return show.raw(page)
    show.table(
        page["data"],
        {
            "name": lambda row: row["name"],
            "id": lambda row: row["id"],
            "version": lambda row: row["version"],
            "labels": lambda row: ", ".join(sorted(row["labels"])),
            "variables": lambda row: ", ".join(map(_named, row["variables"] or ())),
            "updated": lambda row: show.when(row["updated_at"]),
        },
        numbers=("version",),
    )


@app.command()
def show(
    template: Template,
    version: VersionOption = None,
    label: LabelOption = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Show a template."""
    params = _given(version=version, label=label)
    _print(_gateway(url, key).call("GET", _path(template), params=params), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the template.", show_default=False)],
    text: Text = None,
    file: FromFile = None,
    variable: Variable = None,
    jinja2: Jinja = False,
    label: Labels = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Create a template of one text. For chat templates and typed variables see `import`."""
    body = {"name": name, **_body(text, file, variable, jinja2, label)}
    _print(_gateway(url, key).call("POST", "/v1/templates", body=body), as_json)


@app.command()
def update(
    template: Template,
    text: Text = None,
    file: FromFile = None,
    variable: Variable = None,
    jinja2: Jinja = False,
    label: Labels = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Make a new version. What is not given stays as it is."""
    body = _body(text, file, variable, jinja2, label)
    _print(_gateway(url, key).call("PUT", _path(template), body=body), as_json)


@app.command()
def render(
    template: Template,
    value: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="`name=text`, or `name:=json`; repeat it for more."),
    ] = None,
    version: VersionOption = None,
    label: LabelOption = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Render a template, without a model."""
    from sentinella_plugins.cli import show

    body = {"variables": dict(map(_value, value or ())), **_given(version=version, label=label)}
    made = _gateway(url, key).call("POST", f"{_path(template)}/render", body=body)
    if as_json:
        return show.raw(made)
    if made["text"] is not None:
        return typer.echo(made["text"])
    for message in made["messages"]:
        content = message["content"]
        typer.echo(f"{message['role']}: {content if isinstance(content, str) else json.dumps(content)}")


@app.command()
def diff(
    template: Template,
    from_version: Annotated[int | None, typer.Option("--from", help="The older version.")] = None,
    to_version: Annotated[int | None, typer.Option("--to", help="The newer version.")] = None,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Show what changed between two versions; by default between the last two."""
    from sentinella_plugins.cli import show

    params = _given(**{"from": from_version, "to": to_version})
    found = _gateway(url, key).call("GET", f"{_path(template)}/diff", params=params)
    if as_json:
        return show.raw(found)
    typer.echo(found["unified"] or "no difference")


@app.command()
def rollback(
    template: Template,
    version: Annotated[int, typer.Argument(help="The version to go back to.", show_default=False)],
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Make a new version equal to an old one."""
    answer = _gateway(url, key).call("POST", f"{_path(template)}/rollback", body={"version": version})
    _print(answer, as_json)


@app.command()
def label(
    template: Template,
    label: Annotated[str, typer.Argument(help="Such as `production`.", show_default=False)],
    versions: Annotated[
        str, typer.Argument(help="`3`, or `3=90,4=10` for a share each, or `none`.", show_default=False)
    ],
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Set, move or remove a label."""
    body = {"labels": {label: _weights(versions)}}
    _print(_gateway(url, key).call("PUT", f"{_path(template)}/labels", body=body), as_json)


@app.command()
def stats(template: Template, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """Show how every version was used."""
    from sentinella_plugins.cli import show

    found = _gateway(url, key).call("GET", f"{_path(template)}/stats")
    if as_json:
        return show.raw(found)
    names = ("version", "calls", "errors", "cached", "cost_usd", "mean_cost_usd", "mean_latency_ms", "rating")
    columns: dict[str, Any] = {name: lambda row, name=name: row[name] for name in names}
    show.table(found["data"], {**columns, "labels": lambda row: ", ".join(row["labels"])}, numbers=names)


@app.command()
def export(
    template: Template,
    version: VersionOption = None,
    label: LabelOption = None,
    url: o.Url = None,
    key: o.Key = None,
) -> None:
    """Write a version as YAML to stdout."""
    params = _given(version=version, label=label)
    typer.echo(_gateway(url, key).text(f"{_path(template)}/export", params), nl=False)


@app.command("import")
def import_(file: File, url: o.Url = None, key: o.Key = None, as_json: o.AsJson = False) -> None:
    """Create a template from YAML, or make a new version of it where the YAML says something new."""
    body = _read(file)
    gateway = _gateway(url, key)
    known = {row["name"]: row for row in gateway.pages("/v1/templates")["data"]}.get(body["name"])
    if known is None:
        return _print(gateway.call("POST", "/v1/templates", body=body), as_json)
    name = body.pop("name")
    same = {"template": None, "messages": None, "variables": None, "description": None, "syntax": "simple"}
    if body.get("labels") or any(known[field] != body.get(field, same[field]) for field in same):
        known = gateway.call("PUT", _path(name), body=body)
    _print(known, as_json)


@app.command()
def delete(
    template: Template,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: o.Url = None,
    key: o.Key = None,
    as_json: o.AsJson = False,
) -> None:
    """Delete a template with all its versions."""
    from sentinella_plugins.cli import show

    if not yes:
        typer.confirm(f"Delete template `{template}` with all its versions?", abort=True, err=True)
    answer = _gateway(url, key).call("DELETE", _path(template))
    if as_json:
        return show.raw(answer)
    typer.echo(f"deleted {template}")


def _gateway(url: str | None, key: str | None) -> Any:
    from sentinella_plugins.cli.client import Gateway

    return Gateway(url, key, "member")


def _path(template: str) -> str:
    from sentinella_plugins.cli.client import segment

    return f"/v1/templates/{segment(template)}"


def _given(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _body(
    text: str | None, file: Path | None, variables: list[str] | None, jinja2: bool, labels: list[str] | None
) -> dict[str, Any]:
    if text is not None and file is not None:
        raise typer.BadParameter("Give either `--text` or `--file`.")
    body = _given(
        template=_content(file) if file is not None else text,
        variables=variables or None,
        syntax="jinja2" if jinja2 else None,
        labels=labels or None,
    )
    if not body:
        raise typer.BadParameter("Give at least `--text` or `--file`.")
    return body


def _content(file: Path) -> str:
    from sentinella_plugins.cli.client import fail

    try:
        return typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text()
    except (OSError, ValueError) as error:
        fail(f"`{file}` cannot be read ({type(error).__name__}).")


def _read(file: Path) -> dict[str, Any]:
    import yaml

    from sentinella_plugins.cli.client import fail

    try:
        body = yaml.safe_load(_content(file))
    except yaml.YAMLError as error:
        fail(f"`{file}` is not valid YAML: {error}")
    if not isinstance(body, dict):
        fail(f"`{file}` must hold a mapping.")
    body.pop("tenant", None)  # the key says whose it is
    return {"name": file.stem, **body}


def _value(text: str) -> tuple[str, object]:
    name, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"`{text}` is neither `name=text` nor `name:=json`.", param_hint="--set")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except ValueError:
        raise typer.BadParameter(f"`{value}` is not JSON.", param_hint="--set") from None


def _weights(text: str) -> int | dict[str, float] | None:
    try:
        if "=" in text:
            pairs = (pair.split("=") for pair in text.split(","))
            return {str(int(number)): float(weight) for number, weight in pairs}
        return None if text == "none" else int(text)
    except ValueError:
        message = f"`{text}` is neither a version, nor shares such as `3=90,4=10`, nor `none`."
        raise typer.BadParameter(message) from None


def _named(variable: Any) -> str:
    return str(variable if isinstance(variable, str) else variable["name"])


def _print(template: dict[str, Any], as_json: bool) -> None:
    from sentinella_plugins.cli import show

    if as_json:
        return show.raw(template)
    labels = (
        f"{label} → {', '.join(f'{number} ({weight:g})' for number, weight in weights.items())}"
        for label, weights in template["labels"].items()
    )
    messages = template["messages"] or [{"role": "text", "content": template["template"]}]
    show.facts(
        {
            "name": template["name"],
            "id": template["id"],
            "version": template["version"],
            "description": template["description"],
            "variables": ", ".join(map(_named, template["variables"] or ())),
            "labels": "; ".join(labels),
            "updated": show.when(template["updated_at"]),
            **{
                f"{number}. {message['role']}": message["content"]
                for number, message in enumerate(messages, 1)
            },
        }
    )

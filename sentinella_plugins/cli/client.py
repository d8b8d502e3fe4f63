"""The running gateway, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
import typer

from sentinella_plugins.cli.keychain import Whose, base_url, find_key

_NO_KEEPALIVE = httpx.Limits(max_keepalive_connections=0)
_TIMEOUT = httpx.Timeout(30.0, read=600.0)


class Gateway:
    """Every failure ends the command with one line on stderr."""

    def __init__(self, url: str | None, key: str | None, whose: Whose = "admin") -> None:
        self._url = base_url(url)
        found = find_key(key, whose)
        headers = {"authorization": f"Bearer {found}"} if found else {}
        try:
            self._http = httpx.Client(
                base_url=self._url, headers=headers, timeout=_TIMEOUT, limits=_NO_KEEPALIVE
            )
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
            fail(f"`{self._url}` is not a URL, or the key holds characters that no key has.")

    def call(
        self, method: str, path: str, *, body: object = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return parsed(self._send(method, path, body, params))

    def text(self, path: str, params: Mapping[str, str]) -> str:
        return self._send("GET", path, None, params).text

    def pages(self, path: str) -> dict[str, Any]:
        """The whole of a list, page after page."""
        whole: dict[str, Any] = {"object": "list", "data": [], "has_more": False}
        more = True
        while more:
            after = {"after": str(whole["data"][-1]["id"])} if whole["data"] else {}
            page = self.call("GET", path, params={"limit": "100", **after})
            whole["data"] += page["data"]
            more = bool(page["data"]) and page.get("has_more", False)
        return whole

    def events(self, path: str, body: object) -> Iterator[dict[str, Any]]:
        """The JSON objects of a stream of server-sent events, until `[DONE]`."""
        try:
            with self._http.stream("POST", path, json=body) as response:
                if response.is_error:
                    response.read()
                    refuse(response)
                yield from (json.loads(data) for data in _data(response.iter_lines()))
        except (httpx.HTTPError, ValueError) as error:
            self._unreachable(error)

    def _send(self, method: str, path: str, body: object, params: Mapping[str, str] | None) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=body, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._unreachable(error)
        if response.is_error:
            refuse(response)
        return response

    def _unreachable(self, error: Exception) -> NoReturn:
        fail(
            f"No answer from {self._url} ({type(error).__name__}). Is the gateway running? `sentinella serve`"
        )


def segment(name: str) -> str:
    """A name as one segment of a path."""
    if name in ("", ".", ".."):
        fail(f"`{name}` is no id.")
    return quote(name, safe="")


def parsed(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json() if response.content else {}
    except ValueError:
        fail(f"The answer of {response.url.host} is not JSON. Is this a Sentinella gateway?")
    return content if isinstance(content, dict) else {"data": content}


def refuse(response: httpx.Response) -> NoReturn:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered {response.status_code} {response.reason_phrase}."
    fail(str(message))


def fail(message: str) -> NoReturn:
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(1)


def _data(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data == "[DONE]":
            return
        if line.startswith("data:") and data:
            yield data

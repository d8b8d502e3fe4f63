"""The `sentinella` command."""

from __future__ import annotations


def main() -> None:
    from sentinella_plugins.cli.app import app

    app(prog_name="sentinella")

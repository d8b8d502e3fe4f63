from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from .brain import BrainMissing
from .serving import Options, serve


def parser() -> ArgumentParser:
    parse = ArgumentParser("python -m sentinella_plugins.demo", description="A stand-in for all providers.")
    parse.add_argument("--host", default="127.0.0.1")
    parse.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parse.add_argument("--brain", choices=("auto", "canned", "smollm2"), default="auto")
    parse.add_argument("--ready-file", type=Path, help="gets {url, pid} once the server listens")
    parse.add_argument("--latency-ms", type=float, default=0, help="before every answer")
    parse.add_argument("--chunk-delay-ms", type=float, default=0, help="after every streamed chunk")
    parse.add_argument("--while-locked", type=Path, help="end when nobody holds a lock on this file")
    parse.add_argument("--lock-grace-s", type=float, default=10, help="time to take that lock")
    parse.add_argument("--no-record", dest="record", action="store_false", help="do not keep requests")
    return parse


def main(arguments: Sequence[str] | None = None) -> None:
    parse = parser()
    options = Options(**vars(parse.parse_args(arguments)))
    try:
        serve(options)
    except BrainMissing as error:
        parse.error(str(error))


if __name__ == "__main__":
    main()

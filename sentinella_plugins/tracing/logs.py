"""Structured logs with every credential masked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from sentinella_plugins.kernel.secrets import mask
from sentinella_plugins.tracing.config import TracingConfig

OWN = ("sentinella", "sentinella_plugins")
FIELDS = "sentinella_fields"
"""Attribute of a log record (`extra={FIELDS: {...}}`) whose entries become fields of the JSON line."""

request_id: ContextVar[str] = ContextVar("sentinella_request_id", default="")


class MaskFilter(logging.Filter):
    """Lets every record through, without credentials in its message, arguments or traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
            record.msg, record.args = message, ()
        _mask_message(record, message)
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = mask(record.exc_text or logging.Formatter().formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line.update(getattr(record, FIELDS, {}))
        if record.exc_text:
            line["exception"] = record.exc_text
        return _dump(line)


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, FIELDS, {})
        return " ".join([super().format(record), *(f"{name}={value}" for name, value in fields.items())])


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Ours, so that configuring twice finds it again. Writes to whatever `sys.stderr` is at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.addFilter(MaskFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def configure(config: TracingConfig) -> None:
    """Sets up Sentinella's loggers and masks those of `mask_loggers`. A second call changes the settings."""
    for name in OWN:
        logger = logging.getLogger(name)
        handler = next((known for known in logger.handlers if isinstance(known, _Handler)), None)
        if handler is None:
            handler = _Handler()
            logger.addHandler(handler)
        handler.setFormatter(JsonFormatter() if config.log_format == "json" else TextFormatter())
        logger.setLevel(config.log_level)
        logger.propagate = False
    mask_loggers(config.mask_loggers)


def mask_loggers(names: Iterable[str]) -> None:
    """Masks credentials in what these loggers and their handlers write. Calling it again changes nothing."""
    for name in names:
        logger = logging.getLogger(name)
        for place in (logger, *logger.handlers):
            if not any(isinstance(known, MaskFilter) for known in place.filters):
                place.addFilter(MaskFilter())


def _mask_message(record: logging.LogRecord, message: str) -> None:
    masked = mask(message)
    if masked == message:
        return
    if isinstance(record.args, tuple) and isinstance(record.msg, str):
        # uvicorn's formatter reads the arguments one by one: they stay in their places where that is enough.
        arguments = tuple(mask(value) if isinstance(value, str) else value for value in record.args)
        if arguments and record.msg % arguments == masked:
            record.args = arguments
            return
    record.msg, record.args = masked, ()


def _dump(line: dict[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # a lone surrogate
        return orjson.dumps(
            {name: str(value).encode("utf-8", "replace").decode() for name, value in line.items()}
        ).decode()

"""How an engine is made: what differs between SQLite and PostgreSQL, apart from statements, stands here."""

from __future__ import annotations

import fcntl
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sentinella_plugins.kernel.errors import SettingsError, Unavailable


def parse_url(url: str) -> URL:
    """`SettingsError` unless it is a SQLite file or a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError("`storage.database_url` is not a URL") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise SettingsError(
        "`storage.database_url` must be `sqlite:///path` or `postgresql://user:password@host/name`"
    )


def sqlite_file(url: URL) -> Path | None:
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def reader_engine(url: URL, *, pool_size: int, timeout_s: float) -> Engine:
    return _engine(url, pool_size=pool_size, timeout_s=timeout_s, writes=False)


def writer_engine(url: URL, *, timeout_s: float) -> Engine:
    return _engine(url, pool_size=1, timeout_s=timeout_s, writes=True)


def _engine(url: URL, *, pool_size: int, timeout_s: float, writes: bool) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": timeout_s, "check_same_thread": False} if sqlite else _postgres(timeout_s, writes)
    engine = create_engine(
        url,
        connect_args=arguments,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_s,
        pool_pre_ping=not sqlite,
    )
    if sqlite:
        _prepare_sqlite(engine, writes)
    return engine


def _postgres(timeout_s: float, writes: bool) -> dict[str, object]:
    milliseconds = max(1, int(timeout_s * 1000))
    options = {"statement_timeout": milliseconds, "lock_timeout": milliseconds}
    if not writes:
        options["default_transaction_read_only"] = 1
    return {
        "connect_timeout": max(2, math.ceil(timeout_s)),
        "tcp_user_timeout": milliseconds,
        "application_name": "sentinella",
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }


def _prepare_sqlite(engine: Engine, writes: bool) -> None:
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late to lock anything
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if not writes:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


@contextmanager
def file_lock(path: Path | None) -> Iterator[None]:
    """Exclusive between processes and threads; those who wait sleep in the kernel and are woken at once."""
    if path is None:
        yield
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"The data directory cannot be used ({type(error).__name__}).") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_store_failure(error: BaseException) -> bool:
    """Whether the store failed, and not what was asked of it."""
    if isinstance(error, IntegrityError):
        return False
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | InterfaceError | PoolTimeout)


def translate(error: Exception) -> Exception:
    """`Unavailable` for failures of the store, without the driver's text: it may name hosts and users."""
    if not is_store_failure(error):
        return error
    cause = getattr(error, "orig", None) or error
    unavailable = Unavailable(f"The database did not answer ({type(cause).__name__}). Retry shortly.")
    unavailable.__cause__ = error
    return unavailable


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_store_failure(error):
            raise
        raise translate(error) from error

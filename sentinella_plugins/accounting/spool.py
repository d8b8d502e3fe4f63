"""Where lines wait on disk while the database is down: one append-only file per process.

A file belongs to whoever holds its `flock`; when that process dies, the lock is free and others adopt it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sentinella_plugins.kernel.errors import Unavailable


class Spool:
    """Blocking; safe between threads and processes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._file: int | None = None

    def append(self, lines: Sequence[bytes]) -> None:
        """On disk when it returns. `Unavailable`, and none is kept, when spool or disk are full."""
        data = b"".join(line + b"\n" for line in lines)
        with self._lock:
            try:
                self._append(data)
            except OSError as error:
                raise Unavailable("The ledger can be written neither to the database nor to disk.") from error

    def seal(self) -> None:
        """Ends this process's file, so that it can be claimed."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def files(self) -> list[Path]:
        return sorted(self._folder.glob("ledger-*.jsonl"))

    def size(self) -> int:
        """Bytes that wait here, those of other processes included."""
        return sum(_size(path) for path in self._folder.glob("ledger-*"))

    def _append(self, data: bytes) -> None:
        if self.size() + len(data) > self._max_bytes:
            raise OSError("the spool is full")
        if self._file is None:
            self._file = self._create()
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            if os.write(self._file, data) != len(data):
                raise OSError("the disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def _create(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"ledger-{os.getpid()}-{secrets.token_hex(4)}"
        draft = self._folder / f"{name}.new"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        draft.rename(self._folder / f"{name}.jsonl")  # locked before it can be seen, or it could be adopted
        _sync_folder(self._folder)
        return file


@contextmanager
def claimed(path: Path) -> Iterator[BinaryIO | None]:
    """The file, ours alone; `None` while somebody else writes or replays it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file if path.exists() else None


def finish(path: Path, *, keep: bool) -> None:
    """Done with a claimed file; one with lines that fit nowhere is kept aside for a human."""
    if keep:
        path.rename(path.with_suffix(".rejected"))
    else:
        path.unlink(missing_ok=True)


def complete_lines(chunk: Sequence[bytes]) -> list[bytes]:
    """Without a torn last line: its writer died before it told anybody that the line is kept."""
    return [line for line in chunk if line.endswith(b"\n")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

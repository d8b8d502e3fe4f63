"""An index on disk, so that a worker need not read the whole store when it starts."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from sentinella_plugins.vectors.models import Vector
from sentinella_plugins.vectors.shelves import Partition

_MAGIC = b"SENTINELLA-VECTORS-2\n"


class BadSnapshot(ValueError):
    """The snapshot cannot be used: the index is built from the store."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`position` is how far the log had been read when the vectors were as they are here."""

    position: str
    items: tuple[tuple[Partition, str], ...]
    vectors: Vector


def save(
    path: Path, encoder: str, position: str, items: Iterable[tuple[Partition, str, Vector]], dimensions: int
) -> None:
    """Blocking. A reader sees the old file or the new one, never a part of it."""
    listed, rows = [], []
    for partition, entry_id, vector in items:
        listed.append((*partition, entry_id))
        rows.append(vector.astype("<f2"))
    matrix = np.stack(rows).tobytes() if rows else b""
    names = orjson.dumps(listed)
    head = {"encoder": encoder, "position": position, "dimensions": dimensions, "names": len(names)}
    rest = b"".join((orjson.dumps(head), b"\n", names, matrix))
    digest = hashlib.sha256(rest).hexdigest().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((_MAGIC, digest, b"\n", rest))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def load(path: Path, encoder: str) -> Snapshot:
    """Blocking. Raises `BadSnapshot` for one that is missing, damaged or of another encoder."""
    try:
        with path.open("rb") as file:
            if file.readline() != _MAGIC:
                raise BadSnapshot("it is no snapshot")
            digest = file.readline()
            rest = file.read()
        if hashlib.sha256(rest).hexdigest().encode() + b"\n" != digest:
            raise BadSnapshot("it is damaged")
        header, _, rest = rest.partition(b"\n")
        head = orjson.loads(header)
        if head["encoder"] != encoder:
            raise BadSnapshot("it is of another encoder")
        names = orjson.loads(rest[: head["names"]])
        matrix = np.frombuffer(rest, "<f2", offset=head["names"]).reshape(len(names), head["dimensions"])
    except BadSnapshot:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadSnapshot(f"it cannot be read: {error}") from None
    items = tuple(((tenant, scope), entry_id) for tenant, scope, entry_id in names)
    return Snapshot(head["position"], items, matrix.astype(np.float32))

"""Response bodies that cannot grow beyond their bound, whatever their headers say."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import httpcore2
import httpx2

from sentinella_plugins.net.models import ResponseTooLarge, ResponseUnreadable

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
ACCEPTED = "gzip, deflate"


class BoundedStream(httpx2.AsyncByteStream):
    """The decompressed body. At most `limit` bytes are ever made of it."""

    def __init__(self, answer: httpcore2.Response, encoding: str, limit: int) -> None:
        self._answer = answer
        self._inflate = _inflater(encoding)
        self._limit = limit
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_stream():
            if part := self._take(chunk):
                yield part

    async def aclose(self) -> None:
        await self._answer.aclose()

    def _take(self, chunk: bytes) -> bytes:
        if self._inflate is not None:
            try:
                # One byte above what is left is enough to see that it is too much.
                chunk = self._inflate.decompress(chunk, self._left + 1)
            except zlib.error:
                raise ResponseUnreadable from None
        self._left -= len(chunk)
        if self._left < 0:
            raise ResponseTooLarge(f"The server's response is larger than {self._limit} bytes.")
        return chunk


def _inflater(encoding: str) -> zlib._Decompress | None:
    """`None` for a body that is not compressed. One layer only: a second one multiplies the first."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _WINDOW_BITS:
        raise ResponseUnreadable("The server's response is compressed in a way this gateway does not know.")
    return zlib.decompressobj(_WINDOW_BITS[name])

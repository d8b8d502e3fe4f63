"""LiteLLM's answer to a metered call on its way out."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from sentinella_plugins.gateway import answers
from sentinella_plugins.gateway.metered_stream import Event, Frames, error_frame, last_frame, read
from sentinella_plugins.gateway.wire import Message, Send
from sentinella_plugins.kernel.call import Call
from sentinella_plugins.kernel.errors import ClientGone, SentinellaError
from sentinella_plugins.kernel.money import Nano

_INSIDE = (b"x-litellm-", b"llm_provider-")
Headers = Iterable[tuple[bytes, bytes]]


class Answer:
    """A JSON answer is held until the books are closed, so that its headers tell the cost; of a stream the
    end is, and errors never leave: the true story is told instead."""

    def __init__(self, call: Call, send: Send, *, wants_usage: bool) -> None:
        self._call = call
        self._send = send
        self._wants_usage = wants_usage
        self._headers: Headers = ()
        self._held: list[bytes] = []
        self._frames = Frames()
        self._streaming = self._complete = self._ended = self._said_end = False
        self.status: int | None = None
        self.first_token: float | None = None
        self.said: list[str] = []
        self.started = self.broken = False

    @property
    def whole(self) -> bool:
        """Whether it came to its proper end."""
        if self.status is None or self.status >= 400 or self.broken:
            return False
        return self._said_end if self._streaming else self._complete

    @property
    def body(self) -> bytes:
        """What is held of it."""
        return b"".join(self._held)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], message["headers"]
            self._streaming = self.status < 400 and _is_stream(self._headers)
            return
        if self._streaming:
            await self._stream(message.get("body", b""))
        else:
            self._held.append(message.get("body", b""))
        self._complete = not message.get("more_body", False)

    async def release(self, model: str, cost: Nano) -> None:
        """The rest of it, when the books are closed."""
        if self._streaming and not self._ended:
            self._held.append(last_frame(self._call.route))
        await self._pass(self.body, model, None if self._streaming else cost, more=False)

    async def fail(self, error: SentinellaError) -> None:
        """Ends a stream of which the client has seen a part. Anything else is still unsaid."""
        frame = error_frame(self._call.route, error, self._call.id)
        await self._pass(frame, "", None, more=False)

    async def _stream(self, data: bytes) -> None:
        passed = b""
        for frame in self._frames.feed(data):
            if not self.broken:
                passed += self._take(read(self._call.route, frame, wants_usage=self._wants_usage))
        if passed:
            await self._pass(passed, self._call.model, None)

    def _take(self, event: Event) -> bytes:
        self.broken = event.failed
        self._ended = self._ended or event.ends
        self._said_end = self._said_end or event.says_end
        if event.failed:
            return b""
        if event.text:
            self.said.append(event.text)
            self.first_token = self.first_token or perf_counter()
        if not self._ended:
            return event.frame
        self._held.append(event.frame)
        return b""

    async def _pass(self, body: bytes, model: str, cost: Nano | None, *, more: bool = True) -> None:
        try:
            if not self.started:
                self.started = True
                await self._send(self._start(model, cost))
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except OSError:
            raise ClientGone from None

    def _start(self, model: str, cost: Nano | None) -> Message:
        added = answers.headers(self._call, model=model, cost=cost)
        ours = {name.encode() for name in added}
        kept = [
            (name, value)
            for name, value in self._headers
            if name.lower() not in ours and not name.lower().startswith(_INSIDE)
        ]
        headers = [*kept, *((name.encode(), value.encode("latin-1")) for name, value in added.items())]
        return {"type": "http.response.start", "status": self.status, "headers": headers}


def _is_stream(headers: Headers) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
    )

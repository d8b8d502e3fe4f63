"""How an answer travels to the client, and how it goes wrong on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import orjson

from .dialects import Encoder, Target
from .errors import fault_error
from .exchange import Answer, Ask, Finish
from .replies import Author
from .rules import NO_RULE, Fault, Rule
from .wire import Wire

GARBAGE = b"<html><body><h1>Bad gateway</h1></body></html>"
RESET_AFTER_S = 0.1  # a reset overtakes what is still on its way
UNCACHED = {"cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Pace:
    latency_s: float = 0
    chunk_s: float = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    wire: Wire
    target: Target
    ask: Ask
    rule: Rule
    pace: Pace

    async def run(self, author: Author) -> None:
        if (self.rule is not NO_RULE or self.pace.latency_s) and await self._spoiled():
            return
        answer = await author.answer(self.target.provider, self.ask, self.rule.reply)
        if self.rule.fault.content_filter:
            answer = replace(answer, calls=(), finish="content_filter")
        async with attended(self.wire, answer):
            if self.ask.stream:
                await self._stream(answer)
            else:
                await self._whole(answer)

    async def _spoiled(self) -> bool:
        fault = self.rule.fault
        late = 0 if self.ask.stream else fault.first_token_delay_s
        if wait := self.pace.latency_s + fault.delay_s + fault.silent_s + late:
            await self.wire.pause(wait)
        if fault.is_error:
            await self.wire.json(*fault_error(self.target.provider, fault))
        elif fault.reset and fault.cut_after is None:
            self.wire.reset()
        elif fault.garbage:
            await self.wire.whole(200, GARBAGE, b"text/html")
        else:
            return False
        return True

    async def _whole(self, answer: Answer) -> None:
        if answer.live:
            pieces = answer.pieces + tuple([p async for p in answer.live.pieces])
            answer = replace(answer, pieces=pieces, finish=_finish(self.ask, answer, len(pieces)))
        data = orjson.dumps(self.target.dialect.whole(self.ask, answer))
        fault = self.rule.fault
        if fault.cut_after is not None or fault.stall_after is not None:
            await self._interrupted(data, fault)
        elif fault.malformed_after is not None:
            await self.wire.whole(200, data[: len(data) // 2])
        else:
            await self.wire.whole(200, data)

    async def _interrupted(self, data: bytes, fault: Fault) -> None:
        half = len(data) // 2
        await self.wire.start(200, b"application/json", len(data))
        await self.wire.write(data[:half])
        if fault.stall_after is not None:
            await self.wire.pause(fault.stall_s)
        if fault.cut_after is not None:
            await self._hang_up()
        else:
            await self.wire.write(data[half:])
            await self.wire.end()

    async def _stream(self, answer: Answer) -> None:
        encoder = self.target.dialect.encoder(self.ask)
        fault, wire = self.rule.fault, self.wire
        await wire.start(200, self.target.dialect.media, headers=UNCACHED)
        if fault.first_token_delay_s:
            await wire.pause(fault.first_token_delay_s)
        if opening := encoder.open():
            await wire.write(opening)
        sent = 0
        async for frame in self._frames(encoder, answer):
            if sent in (fault.cut_after, fault.end_after):
                break
            await self._chunk(frame, sent)
            sent += 1
        if fault.cut_after is not None:
            await self._hang_up()
        elif fault.end_after is not None:
            await wire.end()
        else:
            await self._finish(encoder, answer, sent)

    async def _chunk(self, frame: bytes, sent: int) -> None:
        fault = self.rule.fault
        if fault.stall_after == sent:
            await self.wire.pause(fault.stall_s)
        await self.wire.write(broken(frame) if fault.malformed_after == sent else frame)
        if self.pace.chunk_s:
            await self.wire.pause(self.pace.chunk_s)

    async def _finish(self, encoder: Encoder, answer: Answer, sent: int) -> None:
        spoken = (sent - len(answer.calls)) * self.ask.n
        closing = encoder.close(_finish(self.ask, answer, spoken), answer.usage_for(self.ask, spoken))
        if not self.rule.fault.no_done:
            closing += encoder.end()
        if closing:
            await self.wire.write(closing)
        await self.wire.end()

    async def _frames(self, encoder: Encoder, answer: Answer) -> AsyncIterator[bytes]:
        for piece in answer.pieces:
            yield encoder.text(piece)
        if answer.live:
            async for piece in answer.live.pieces:
                yield encoder.text(piece)
        for index, call in enumerate(answer.calls):
            yield encoder.call(index, call)

    async def _hang_up(self) -> None:
        if self.rule.fault.reset:
            await asyncio.sleep(RESET_AFTER_S)
            self.wire.reset()
        else:
            await asyncio.sleep(0)
            self.wire.cut()


@asynccontextmanager
async def attended(wire: Wire, answer: Answer) -> AsyncIterator[None]:
    """Stops a running generation when the client leaves, and in any case at the end."""
    live = answer.live
    if live is None:
        yield
        return
    watch = asyncio.create_task(wire.gone())
    watch.add_done_callback(lambda _: live.stop())
    try:
        yield
    finally:
        watch.cancel()
        live.stop()


def broken(frame: bytes) -> bytes:
    body = frame.rstrip(b"\n")
    return body.rstrip(b"}]") + frame[len(body) :]


def _finish(ask: Ask, answer: Answer, spoken: int) -> Finish:
    out_of_room = answer.live and ask.max_tokens and spoken >= ask.max_tokens
    return "length" if out_of_room else answer.finish

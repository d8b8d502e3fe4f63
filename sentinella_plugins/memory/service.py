"""Recalls a session before the model is asked, and keeps the turn once it was answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sentinella_plugins.kernel.access import Recent
from sentinella_plugins.kernel.asking import Ask
from sentinella_plugins.kernel.call import Call, Json, Outcome, Recalled
from sentinella_plugins.kernel.catalogue import Catalogue
from sentinella_plugins.kernel.clock import Clock
from sentinella_plugins.kernel.errors import BadRequest, Unavailable
from sentinella_plugins.kernel.events import Events, PartFailed
from sentinella_plugins.memory.archive import Archive
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.facts import FactStore
from sentinella_plugins.memory.fit import fit, paired, room
from sentinella_plugins.memory.library import Library
from sentinella_plugins.memory.messages import (
    answer_of,
    check_sizes,
    entry_of,
    messages_of,
    take_apart,
    user_of,
)
from sentinella_plugins.memory.minutes import MinuteStore
from sentinella_plugins.memory.models import (
    Entry,
    Head,
    Message,
    Place,
    Remembered,
    Said,
    Seat,
    SessionFull,
    TooManySessions,
    Turn,
)
from sentinella_plugins.memory.recall import Recall
from sentinella_plugins.memory.seats import Seats
from sentinella_plugins.memory.shared_tails import SharedTails
from sentinella_plugins.memory.store import SessionStore
from sentinella_plugins.memory.summaries import Summaries
from sentinella_plugins.memory.tails import OwnTails, Tails
from sentinella_plugins.memory.waiting import Unsaved
from sentinella_plugins.memory.wording import recall_message, summary_message
from sentinella_plugins.storage.database import Database
from sentinella_plugins.storage.shared import SharedValues
from sentinella_plugins.vectors.models import Encoder

logger = logging.getLogger(__name__)
_COUNTED_FOR_S = 5.0
_COUNTED_TENANTS = 10_000
_REPORT_EVERY_S = 1.0
_TRIMS_AT_ONCE = 20


class MemoryService:
    """`run` must run: it keeps this worker's turns alive, makes summaries and deletes what is old.

    Without `ask` summaries are extractive; without `encoder` nothing is recalled from other sessions; without
    `shared` each worker remembers histories by itself. `on_summary` is told who wrote one: `model` or
    `extractive`.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        events: Events,
        clock: Clock,
        config: MemoryConfig,
        *,
        ask: Ask | None = None,
        encoder: Encoder | None = None,
        shared: SharedValues | None = None,
        on_summary: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        self._store = SessionStore(database)
        self._archive = Archive(database)
        self._catalogue = catalogue
        self._events = events
        self._clock = clock
        self._config = config
        self._seats = Seats(self._store, clock, config)
        own = OwnTails(config.cache_sessions, config.cache_bytes)
        self._tails: Tails = own if shared is None else SharedTails(own, shared, clock, config, self._report)
        self._summaries = Summaries(
            MinuteStore(database), ask, catalogue.count_prompt, clock, config, on_summary
        )
        recalls = encoder is not None and config.recall.enabled
        self._recall = Recall(FactStore(database), encoder, config.recall) if encoder and recalls else None
        self._counted: Recent[str, int] = Recent(
            self._count, clock, ttl_s=_COUNTED_FOR_S, size=_COUNTED_TENANTS
        )
        self._unsaved = Unsaved(self._store, config.max_unsaved)
        self._report_from = self._trim_from = clock.monotonic()
        self.library = Library(self._archive, self._summaries, self._tails, config)

    async def run(self) -> None:
        """Until cancelled."""
        loops = [self._beats(), self._summaries.run()]
        if self._recall is not None:
            loops.append(self._recall.run())
        await asyncio.gather(*loops)

    async def idle(self) -> None:
        """Until no summary, no statement and no history waits."""
        await self._summaries.idle()
        await self._tails.idle()
        if self._recall is not None:
            await self._recall.idle()

    async def close(self) -> None:
        """Waits for histories on their way to other workers."""
        await self._tails.idle()

    async def round(self) -> None:
        """Heartbeat, turns that could not be saved, and clearing up."""
        await self._seats.beat()
        await self._unsaved.save()
        now = self._clock.monotonic()
        if now >= self._trim_from:
            await self._trim()
            self._trim_from = now + self._config.trim_interval_s

    async def enter(self, call: Call) -> Call:
        """The call with its history. Raises `SessionBusy`, `SessionFull`, `TooManySessions`,
        `MessageTooLarge`, and `Unavailable` when failures close."""
        place = self._place(call)
        messages = call.body.get("messages")
        if place is None or not isinstance(messages, list):
            return call
        said = take_apart(messages)
        size = check_sizes(said, self._config.max_message_bytes)
        try:
            await self._unsaved.save()
            return await self._seated(call, place, said, size)
        except Unavailable as error:
            if self._config.on_failure == "closed":
                raise
            await self._report(place.tenant, error)
            return call

    async def leave(self, call: Call, outcome: Outcome, between: Sequence[Json] = ()) -> None:
        """Keeps the turn of a success; anything else leaves the session as it was. `between` are the calls
        and results of tools that the gateway ran for this answer, in their order."""
        held = call.note(Remembered)
        if held is None:
            return
        answer = None if outcome.replayed else answer_of(outcome)
        saved = False
        try:
            if answer is not None:
                messages = [*held.said.turn, *between]
                saved = await self._keep(call, held, await self._turn(call, held, messages, answer, outcome))
        finally:
            self._seats.free(held.seat, saved=saved)

    async def _seated(self, call: Call, place: Place, said: Said, size: int) -> Call:
        seat = await self._seats.take(place, call.id)
        try:
            head = await self._with_room(seat.head, place.tenant, len(said.turn) + 1, size)
            seat = Seat(place, seat.holder, head)
            tail = () if head is None else await self._tail(head)
            return await self._with_history(call, Remembered(seat=seat, said=said, tail=tail))
        except BaseException:
            self._seats.free(seat)
            raise

    async def _with_history(self, call: Call, held: Remembered) -> Call:
        head, said = held.seat.head, held.said
        system = said.system or (head.system if head is not None else ())
        user = user_of(call)
        before: list[Json] = []
        if self._recall is not None and user is not None:
            ref = None if head is None else head.ref
            facts = await self._recall.near(held.seat.place, ref, user, said)
            before = [recall_message(facts)] if facts else []
        own = {**call.body, "messages": [*system, *before, *said.turn]}
        left = await self._room(call, own)
        summarised = head is not None and bool(head.summary) and head.summary_tokens <= left
        if head is not None and head.summary and summarised:
            before.insert(0, summary_message(head.summary))
            left -= head.summary_tokens
        history = paired([message.body for message in fit(held.tail, said.turn, left)], said.turn)
        body = {**call.body, "messages": [*system, *before, *history, *said.turn]}
        recalled = Recalled(len(history), summarised)
        return call.evolve(body=body, notes={**call.notes, Remembered: held, Recalled: recalled})

    async def _room(self, call: Call, own: Json) -> int:
        card = self._catalogue.find(call.model)
        if card is None or card.context_window is None:
            return self._config.max_history_tokens
        tokens = await self._catalogue.count_prompt(call.model, own)
        return room(self._config, card, call.body, tokens)

    async def _with_room(self, head: Head | None, tenant: str, messages: int, size: int) -> Head | None:
        config = self._config
        if head is None:
            if (await self._counted.get(tenant) or 0) >= config.max_sessions:
                raise TooManySessions
            return None
        over = head.messages + messages - config.max_messages, head.bytes + size - config.max_session_bytes
        if max(over) <= 0:
            return head
        shed = await self._store.shed(head, *over)
        if shed is not None and (
            shed.messages + messages > config.max_messages or shed.bytes + size > config.max_session_bytes
        ):
            raise SessionFull
        return shed

    async def _tail(self, head: Head) -> tuple[Message, ...]:
        found = await self._tails.get(head)
        if found is None:
            config = self._config
            found = await self._store.tail(head, config.max_loaded_messages, config.max_history_tokens)
            self._tails.put(head, found)
        return found

    async def _turn(
        self, call: Call, held: Remembered, messages: Sequence[Json], answer: Json, outcome: Outcome
    ) -> Turn:
        model, head = outcome.model or call.model, held.seat.head
        entries = [await self._entry(message, model) for message in messages]
        entries.append(await self._entry(answer, model, said_by=model))
        return Turn(
            place=held.seat.place,
            ref=None if head is None else head.ref,
            call_id=call.id,
            at=self._clock.now(),
            entries=tuple(entries),
            system=held.said.system or None,
        )

    async def _entry(self, message: Json, model: str, said_by: str | None = None) -> Entry:
        tokens = await self._catalogue.count_prompt(model, {"messages": [message]})
        return entry_of(message, tokens, said_by)

    async def _keep(self, call: Call, held: Remembered, turn: Turn) -> bool:
        """Whether it is in the database."""
        try:
            head = await self._store.save(turn)
        except Unavailable as error:
            self._unsaved.put(turn)
            await self._report(turn.place.tenant, error)
            return False
        if head is not None:
            self._remember(held, head, turn)
            self._summaries.propose(head, call.principal)
            user = user_of(call)
            if self._recall is not None and user is not None:
                self._recall.learn(held, head, user)
        return True

    def _remember(self, held: Remembered, head: Head, turn: Turn) -> None:
        """Only where nobody else changed the session meanwhile."""
        before = held.seat.head
        if head.version != (1 if before is None else before.version + 1):
            return self._tails.forget(head.ref)
        new = messages_of(turn, head.last_seq)
        self._tails.put(head, (*held.tail, *new)[-self._config.max_loaded_messages :])

    async def _beats(self) -> None:
        while True:
            try:
                await self.round()
            except Unavailable as error:
                logger.info("the heartbeat of sessions failed: %s", error)
            except Exception:
                logger.exception("the heartbeat of sessions failed")
            await asyncio.sleep(self._config.heartbeat_s)

    async def _trim(self) -> None:
        now, days, batch = self._clock.now(), self._config.retention_days, self._config.trim_batch
        before = None if days is None else now - days * 86_400
        for _ in range(_TRIMS_AT_ONCE):  # the heartbeat must not wait for long
            if await self._archive.trim(now, before, batch) < batch:
                break

    async def _count(self, tenant: str) -> int:
        return await self._store.count(tenant, self._config.max_sessions)

    def _place(self, call: Call) -> Place | None:
        session = call.options.session_id
        if session is None:
            return None
        if not session.isprintable():
            raise BadRequest("`session_id` holds a character that is not allowed.", param="session_id")
        principal = call.principal
        return Place(principal.tenant, principal.key_id if self._config.scope == "key" else "", session)

    async def _report(self, tenant: str, error: Unavailable) -> None:
        now = self._clock.monotonic()
        if now >= self._report_from:
            self._report_from = now + _REPORT_EVERY_S
            await self._events.publish(
                PartFailed(at=self._clock.now(), tenant=tenant, part="memory", error=str(error))
            )

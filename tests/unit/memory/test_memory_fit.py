from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.call import Json
from sentinella_plugins.kernel.catalogue import ModelCard
from sentinella_plugins.memory.config import MemoryConfig
from sentinella_plugins.memory.fit import cut_for_summary, fit, paired, room
from sentinella_plugins.memory.models import Message
from tests.unit.memory.worker import asks, assistant, kept, result, user

TALK = st.just([user("u"), assistant("a")])
ROUND = st.integers(1, 3).map(lambda n: [asks(*ids(n)), *(result(one) for one in ids(n))])
TOOL_TURN = st.lists(ROUND, min_size=1, max_size=3).map(
    lambda rounds: [user("u"), *(m for one in rounds for m in one), assistant("a")]
)
ANYTHING = [user("u"), assistant("a"), asks("x"), asks("x", "y"), result("x"), result("y")]
HISTORY = st.lists(TALK | TOOL_TURN, max_size=8).map(lambda turns: [m for turn in turns for m in turn])


def ids(number: int) -> list[str]:
    return [f"call_{at}" for at in range(number)]


def tokens(messages: list[Message]) -> int:
    return sum(message.tokens for message in messages)


@given(HISTORY, st.integers(0, 60), st.data())
def test_what_is_shown_fits_is_the_end_and_has_whole_turns(
    history: list[Json], left: int, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=len(history), max_size=len(history)))
    tail = [
        Message(seq=at, role=str(body["role"]), body=body, tokens=size, bytes=1)
        for at, (body, size) in enumerate(zip(history, sizes, strict=True))
    ]
    chosen = list(fit(tail, [user("new")], left))
    assert tokens(chosen) <= left
    assert chosen == tail[len(tail) - len(chosen) :]
    assert not chosen or chosen[0].role != "tool"
    whole = [at for at, message in enumerate(tail) if message.role == "user" and tokens(tail[at:]) <= left]
    if whole:
        assert chosen == tail[whole[0] :]
    bodies = [message.body for message in chosen]
    assert paired(bodies, [user("new")]) == bodies


@given(HISTORY, st.integers(0, 30), st.integers(1, 3))
def test_results_never_come_without_their_call(history: list[Json], left: int, number: int) -> None:
    tail = kept(*history, user("u"), asks(*ids(number)))
    turn = [result(one) for one in ids(number)]
    chosen = list(fit(tail, turn, left))
    assert chosen[-1] is tail[-1]
    assert tokens(chosen) <= max(left, 1)
    bodies = [message.body for message in chosen]
    assert paired(bodies, turn) == bodies


@given(
    st.lists(
        st.sampled_from([user("u"), assistant("a"), asks("x"), asks("x", "y"), result("x"), result("y")])
    )
)
def test_after_pairing_every_call_has_its_results_and_every_result_its_call(history: list[Json]) -> None:
    shown = [*paired(history, [user("new")]), user("new")]
    open_calls: set[object] = set()
    for message in shown:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls
            open_calls.discard(message["tool_call_id"])
            continue
        assert not open_calls
        calls = message.get("tool_calls")
        open_calls = {call["id"] for call in calls} if isinstance(calls, list) else set()
    plain = [m for m in history if m["role"] in ("user", "assistant") and "tool_calls" not in m]
    assert [m for m in shown[:-1] if m in plain] == plain


def test_words_beside_an_unanswered_call_stay() -> None:
    said = {**asks("x"), "content": "let me see"}
    assert paired([user("u"), said], [user("never mind")]) == [user("u"), assistant("let me see")]
    assert paired([user("u"), asks("x")], [user("never mind")]) == [user("u")]
    assert paired([user("u"), asks("x", "y"), result("x")], [result("y")]) == [
        user("u"),
        asks("x", "y"),
        result("x"),
    ]


def test_the_last_answer_is_better_than_nothing() -> None:
    long = kept(user("u" * 100), assistant("short"), tokens=lambda m: len(str(m["content"])))
    assert [m.body for m in fit(long, [user("new")], 20)] == [assistant("short")]
    assert list(fit(long, [user("new")], 2)) == []


def test_a_greeting_stays_while_all_fits() -> None:
    tail = kept(assistant("welcome"), user("hi"), assistant("hello"))
    assert len(fit(tail, [user("new")], 3)) == 3
    assert [m.body for m in fit(tail, [user("new")], 2)] == [user("hi"), assistant("hello")]


def test_the_window_of_the_model_counts_with_what_the_answer_may_take() -> None:
    config = MemoryConfig(max_history_tokens=1_000, reserve_output_tokens=100)
    card = ModelCard(name="m", provider="p", upstream="m", context_window=500, max_output_tokens=50)
    assert room(config, None, {}, 10) == 1_000
    assert room(config, card, {}, 10) == 500 - 50 - 10
    assert room(config, card, {"max_tokens": 300}, 10) == 500 - 300 - 10
    assert room(config, card, {"max_completion_tokens": 600}, 10) == 0


@given(HISTORY, st.integers(0, 40))
def test_a_summary_ends_where_a_turn_ends(history: list[Json], most: int) -> None:
    messages = kept(*history)
    cut = cut_for_summary(messages, most)
    assert 0 <= cut <= most
    assert cut == 0 or messages[cut].role != "tool"
    if any(message.role == "user" for message in messages[1 : most + 1]):
        assert messages[cut].role == "user"

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.memory.extract import extract

SAID = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), st.text(max_size=400)), max_size=30)


@given(st.none() | st.text(max_size=500), SAID, st.integers(1, 800))
def test_it_is_never_longer_than_allowed(old: str | None, said: list[tuple[str, str]], most: int) -> None:
    assert len(extract(old, said, most)) <= most


def test_what_fits_is_kept_as_it_was_said() -> None:
    said = [("user", "My name is Ana. I live in Kraków."), ("assistant", "Nice to meet you, Ana!")]
    assert extract(None, said, 1_000).splitlines() == [
        "user: My name is Ana.",
        "user: I live in Kraków.",
        "assistant: Nice to meet you, Ana!",
    ]


def test_the_subject_wins_over_small_talk() -> None:
    about = [
        ("user", f"The invoice {n} of the supplier Acme is wrong, correct the invoice.") for n in range(6)
    ]
    chat = [("assistant", "Ok."), ("assistant", "Sure thing."), ("user", "lol")] * 6
    summary = extract(None, [pair for both in zip(chat, about * 3, strict=True) for pair in both], 300)
    assert "invoice" in summary and "lol" not in summary


def test_the_old_summary_keeps_at_most_half() -> None:
    old = "\n".join(f"user: old fact number {n} about the harvest" for n in range(50))
    new = [("user", f"New fact number {n} about the engine.") for n in range(50)]
    summary = extract(old, new, 400)
    assert summary.count("harvest") >= 2 and summary.count("engine") >= 2


def test_other_scripts_have_sentences_too() -> None:
    said = "\u6211\u53eb\u5b89\u5a1c\u3002\u4f60\u597d\u5417\uff1f\u597d\uff01"
    lines = extract(None, [("user", said)], 100).splitlines()
    assert [line.removeprefix("user: ") for line in lines] == [said[:5], said[5:9], said[9:]]

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from sentinella_plugins.kernel.secrets import Secret, hash_key, hint, is_well_formed, mask, new_key, same

LETTERS = string.ascii_letters + string.digits
keys = st.builds(new_key)


@given(keys)
def test_a_new_key_is_well_formed(key: str) -> None:
    assert is_well_formed(key)
    assert len(key) == 53


@given(keys, st.integers(7, 52), st.sampled_from(LETTERS))
def test_one_wrong_letter_is_noticed(key: str, place: int, letter: str) -> None:
    mistyped = key[:place] + letter + key[place + 1 :]
    assert is_well_formed(mistyped) == (letter == key[place])


@given(keys, st.integers(7, 51))
def test_two_swapped_letters_are_noticed(key: str, place: int) -> None:
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert is_well_formed(swapped) == (swapped == key)


@given(st.text(max_size=80))
def test_any_text_can_be_checked_and_hashed(text: str) -> None:
    assert not is_well_formed(text)
    assert len(hash_key(text)) == 64
    assert same(text, text)


def test_lone_surrogates_can_be_hashed() -> None:
    assert hash_key("\ud800") != hash_key("\ud801")


@given(st.text(alphabet=" \n:,", max_size=20), keys, st.text(alphabet=" \n:,", max_size=20))
def test_a_masked_text_does_not_hold_the_key(before: str, key: str, after: str) -> None:
    masked = mask(f"{before}{key}{after}")
    assert key[7:-4] not in masked
    assert masked == f"{before}{hint(key)}{after}"


@given(st.text(alphabet=LETTERS, min_size=20, max_size=60))
def test_bearer_tokens_and_providers_keys_are_masked(body: str) -> None:
    for secret in (
        f"Authorization: Bearer {body}",
        f"sk-ant-{body}",
        f"gsk_{body}",
        f"xai-{body}",
        f"whsec_{body}",
    ):
        assert body not in mask(f"upstream said {secret}!")


@given(st.text(max_size=15))
def test_a_short_secret_has_no_hint(text: str) -> None:
    assert hint(text) == "..."


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hidden")
    assert "hidden" not in f"{secret!r} {secret} {[secret]}"
    assert secret.reveal() == "hidden"

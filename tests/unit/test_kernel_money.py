from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sentinella_plugins.kernel.limits import Limits
from sentinella_plugins.kernel.money import Nano, nano, usd, usd_float

amounts = st.integers(-(2**62), 2**62)


@given(amounts)
def test_what_is_written_reads_back_exactly(amount: int) -> None:
    assert nano(usd(amount)) == amount


@given(st.lists(amounts, max_size=50))
def test_sums_are_exact(parts: list[int]) -> None:
    assert nano(sum((Decimal(usd(part)) for part in parts), Decimal(0))) == sum(parts)


@given(amounts)
def test_dollars_have_two_decimals_or_more_and_no_exponent(amount: int) -> None:
    whole, _, decimals = usd(amount).lstrip("-").partition(".")
    assert whole.isdigit() and decimals.isdigit() and 2 <= len(decimals) <= 9


@given(st.integers(0, 10**15))
def test_the_float_is_the_nearest(amount: int) -> None:
    assert nano(usd_float(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("5.00", 5 * 10**9), ("0.0000000005", 0), ("0.0000000015", 2), (0.1, 10**8), ("1e-9", 1)],
)
def test_half_a_nano_dollar_rounds_to_even(text: str | float, amount: int) -> None:
    assert nano(text) == Nano(amount)


@pytest.mark.parametrize("text", ["", "five", "NaN", "Infinity", "-inf", "1,5"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        nano(text)


@given(st.integers(0, 2**53))
def test_limits_survive_json(amount: int) -> None:
    limits = Limits.model_validate({"cost_per_day_usd": usd(amount)})
    assert limits.cost_per_day_usd == amount
    assert Limits.model_validate_json(limits.model_dump_json()) == limits


@pytest.mark.parametrize("value", ["-1", True, "nan", [], 10**12])
def test_limits_refuse_what_is_no_price(value: object) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate({"cost_per_day_usd": value})

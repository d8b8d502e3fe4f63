"""Exact money: integer nano-dollars inside, decimal strings outside, never a float sum."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NewType

Nano = NewType("Nano", int)
"""10^-9 US dollars. A token of the cheapest models costs tens of them, so no price is rounded away."""

_NANO = Decimal(10) ** 9
FREE = Nano(0)


def nano(usd: str | int | float | Decimal) -> Nano:
    """Nano-dollars of an amount in dollars, rounded half to even. ValueError if it is not a finite number."""
    try:
        amount = Decimal(str(usd)) * _NANO
        return Nano(int(amount.to_integral_value(ROUND_HALF_EVEN)))
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError(f"`{usd}` is not an amount of dollars") from error


def usd(amount: int) -> str:
    """The exact decimal string of an amount: `usd(1_500_000_000) == "1.50"`, at least two decimals."""
    whole, fraction = divmod(abs(amount), 10**9)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{decimals}"


def usd_float(amount: int) -> float:
    """The nearest float in dollars, for JSON numbers and headers. Show it; do not add it up."""
    return float(Decimal(amount) / _NANO)

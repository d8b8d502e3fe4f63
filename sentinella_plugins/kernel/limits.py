"""What a tenant or a key may use. `None` is unlimited everywhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from sentinella_plugins.kernel.money import Nano, nano, usd


def _parse_usd(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('must be an amount of dollars such as "5.00"')
    amount = nano(value)
    if not 0 <= amount <= 2**53:
        raise ValueError("must be between 0 and 9 million dollars")
    return amount


Usd = Annotated[
    int,
    BeforeValidator(_parse_usd, json_schema_input_type=str | float),
    PlainSerializer(lambda amount: usd(amount), return_type=str),
]
"""Read from `"5.00"`, kept as nano-dollars, written as `"5.00"`."""

Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]


class Limits(BaseModel):
    """Requests and tokens are counted per UTC minute, hour and day; cost per UTC day and calendar month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: Count | None = None
    requests_per_hour: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_minute: Count | None = None
    cost_per_day_usd: Usd | None = None
    cost_per_month_usd: Usd | None = None
    max_concurrency: Count | None = None

    @property
    def unlimited(self) -> bool:
        return all(getattr(self, name) is None for name in type(self).model_fields)


UNLIMITED = Limits()

__all__ = ["UNLIMITED", "Limits", "Nano", "Usd"]

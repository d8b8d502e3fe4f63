"""Writes the call into the ledger on its way out."""

from __future__ import annotations

from dataclasses import dataclass

from sentinella_plugins.accounting.lines import line_of
from sentinella_plugins.accounting.service import AccountingService
from sentinella_plugins.kernel.call import Call, Outcome


@dataclass(frozen=True, slots=True)
class AccountingStage:
    service: AccountingService

    async def leave(self, call: Call, outcome: Outcome) -> None:
        line = line_of(call, outcome)
        if line is not None:
            await self.service.record(line)

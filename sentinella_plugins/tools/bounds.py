"""When the gateway stops asking a model and running its tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinella_plugins.kernel.money import FREE, Nano
from sentinella_plugins.tools.config import BoundsConfig
from sentinella_plugins.tools.models import Stop, Toolbox, ToolCall, ToolResult


@dataclass
class Loop:
    """One call's loop, begun at `started` (monotonic seconds).

    After each answer of the model: `stops(calls, now)`; after the tools have run: `ran(results)`; whatever
    was paid: `spend(cost)`.
    """

    bounds: BoundsConfig
    toolbox: Toolbox
    started: float
    rounds: int = 0
    calls: int = 0
    cost: Nano = FREE
    stopped: Stop | None = None
    _wrong: Counter[str] = field(default_factory=Counter)

    @property
    def deadline(self) -> float:
        """When no tool may run any more, in monotonic seconds."""
        return self.started + self.bounds.max_seconds

    def spend(self, cost: Nano) -> None:
        self.cost = Nano(self.cost + cost)

    def stops(self, calls: Sequence[ToolCall], now: float) -> Stop | None:
        """Why these calls are not run, and the model's message goes to the client as it is."""
        self.stopped = self.stopped or self._reason(calls, now)
        return self.stopped

    def ran(self, results: Sequence[ToolResult]) -> None:
        self.rounds += 1
        self.calls += len(results)
        wrong = {result.name for result in results if result.args_error}
        for name in {result.name for result in results} - wrong:
            del self._wrong[name]
        self._wrong.update(wrong)
        if any(count >= self.bounds.max_argument_errors for count in self._wrong.values()):
            self.stopped = "arguments"

    def public(self) -> dict[str, object]:
        """For `sentinella.tools` of the answer."""
        return {"rounds": self.rounds, "calls": self.calls, "stopped": self.stopped}

    def _reason(self, calls: Sequence[ToolCall], now: float) -> Stop | None:
        bounds = self.bounds
        if any(call.name in self.toolbox.clients for call in calls):
            return "client_tools"
        if self.rounds >= bounds.max_rounds:
            return "max_rounds"
        if self.calls + len(calls) > bounds.max_calls:
            return "max_calls"
        if now >= self.deadline:
            return "max_seconds"
        if bounds.max_cost_usd is not None and self.cost >= bounds.max_cost_usd:
            return "max_cost"
        return None

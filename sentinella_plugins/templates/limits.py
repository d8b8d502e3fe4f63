"""What one rendering may use."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass

from sentinella_plugins.templates.errors import TooMuch
from sentinella_plugins.templates.variables import weight

_WORK = 10  # how much more than the longest rendering its steps may produce on the way


@dataclass(frozen=True, slots=True)
class Allowance:
    chars: int
    loops: int
    seconds: float

    def within(self, other: Allowance) -> Allowance:
        return Allowance(
            min(self.chars, other.chars), min(self.loops, other.loops), min(self.seconds, other.seconds)
        )

    def budget(self) -> Budget:
        return Budget(self)


class Budget:
    """Counts down while a template is rendered. Every verb raises `TooMuch` when nothing is left.

    A step of C code cannot be interrupted, so what goes into it is bounded before, and what comes out counts.
    """

    def __init__(self, allowed: Allowance) -> None:
        self._most = allowed.chars
        self._chars = allowed.chars
        self._work = allowed.chars * _WORK
        self._loops = allowed.loops
        self._until = time.monotonic() + allowed.seconds

    def write(self, chars: int) -> None:
        """Characters of the rendering."""
        self._chars -= chars
        if self._chars < 0:
            raise TooMuch(f"The rendering would be longer than {self._most} characters.")

    def turn(self) -> None:
        """One more turn of a loop."""
        self._loops -= 1
        if self._loops < 0:
            raise TooMuch("The loops of the template take more turns than this gateway allows.")
        self.breathe()

    def breathe(self) -> None:
        if time.monotonic() > self._until:
            raise TooMuch("The rendering takes longer than this gateway allows.")

    def expect(self, size: int) -> None:
        """Before a step whose result has about this size."""
        self.breathe()
        if size > self._most:
            raise TooMuch(f"The template makes a value of more than {self._most} characters.")

    def keep(self, value: object) -> None:
        """After a step: its result."""
        self.breathe()
        self._work -= 1 if value is None or isinstance(value, int | float) else weight(value, self._most)
        if self._work < 0:
            raise TooMuch("The template makes more text on its way than this gateway allows.")


BUDGET: ContextVar[Budget] = ContextVar("budget")
"""Of the rendering that runs in this thread."""


def current() -> Budget:
    return BUDGET.get()

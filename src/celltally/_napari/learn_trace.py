"""What a learning tells of itself, step by step: between its thread and the window. Free of Qt."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from celltally.types import Progress

__all__ = ["Curves", "Trace"]

#: Seconds of doing something from which on it can be told how long it still takes.
SURE_AFTER = 2.0


@dataclass(frozen=True)
class Curves:
    """Losses by step.

    Attributes
    ----------
    loss, validation
        Steps and figures: of what the model is shown, and of what is kept back.
    parent
        The latter of the model that learns; None where that is not known.
    steps
        How many steps there will be.
    """

    loss: tuple[tuple[float, float], ...] = ()
    validation: tuple[tuple[float, float], ...] = ()
    parent: float | None = None
    steps: int = 0


class Trace:
    """Every step's figures: put here by a job, taken by the window, which is told of few steps."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loss: list[tuple[float, float]] = []
        self._validation: list[tuple[float, float]] = []
        self._parent: float | None = None
        self._steps = 0
        self._message = ""
        #: Time and steps when what is being done began, and now.
        self._began: tuple[float, int] | None = None
        self._now: tuple[float, int, int] | None = None

    def put(self, step: Progress, now: float | None = None) -> None:
        """Note a step; ``now`` in seconds, for tests."""
        now = time.monotonic() if now is None else now
        values = step.values
        with self._guard:
            if step.message != self._message:
                self._message, self._began = step.message, None
            if step.total > 0:
                self._began = self._began or (now, step.done)
                self._now = (now, step.done, step.total)
            if "loss" in values:
                self._loss.append((len(self._loss) + 1.0, float(values["loss"])))
                self._steps = step.total
            if "val_loss" in values:
                self._validation.append((float(len(self._loss)), float(values["val_loss"])))
            if "parent_loss" in values:
                self._parent = float(values["parent_loss"])

    def curves(self) -> Curves:
        """Return the figures of all steps by now."""
        with self._guard:
            steps = max(self._steps, len(self._loss))
            return Curves(tuple(self._loss), tuple(self._validation), self._parent, steps)

    def seconds_left(self) -> float | None:
        """Return how long what is being done still takes, as fast as it went; None: not known."""
        with self._guard:
            began, now = self._began, self._now
        if began is None or now is None:
            return None
        took, steps = now[0] - began[0], now[1] - began[1]
        if took < SURE_AFTER or steps <= 0:
            return None
        return took * (now[2] - now[1]) / steps

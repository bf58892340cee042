"""What a learning tells of itself, step by step: between its thread and the window. Free of Qt."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from celltally._napari.learn_stages import LEARNING, ROUND, Stages
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
    """Every step's figures: put here by a job, taken by the window, which is told of few steps.

    Parameters
    ----------
    stages
        What the job does one after the other.
    """

    def __init__(self, stages: Stages = ROUND) -> None:
        self._stages = stages
        self._share = 0.0
        #: When all of it will be done, as it looks now.
        self._end: float | None = None
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
                self._advance()
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

    def _advance(self) -> None:
        """Find out how far the whole is, and when it ends."""
        began, current, stage = self._began, self._now, self._stages.get(self._message)
        if began is None or current is None or stage is None:
            return
        (since, first), (now, done, total), (low, high) = began, current, stage
        # A stage that turns out longer than it said does not take the bar back.
        self._share = max(self._share, low + (high - low) * min(done / total, 1.0))
        took, steps = now - since, done - first
        if took < SURE_AFTER or steps <= 0 or low < self._stages[LEARNING][0]:
            return
        each = took / steps
        behind = each * total * (1.0 - high) / (high - low) if self._message == LEARNING else 0.0
        end = now + each * (total - done) + behind
        later = self._stages[LEARNING][1] <= low
        # Of what comes after it was told before, roughly: only what is known to be longer counts.
        self._end = max(end, self._end or end) if later else end

    def share(self) -> float:
        """Return which share of the whole is done, from 0 to 1; it never goes back."""
        with self._guard:
            return self._share

    def seconds_left(self, now: float) -> float | None:
        """Return how long the whole still takes, as fast as it went; None: not known.

        Parameters
        ----------
        now
            The time in seconds, as ``put`` takes it.
        """
        with self._guard:
            return None if self._end is None else max(self._end - now, 0.0)

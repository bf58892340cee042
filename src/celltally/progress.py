"""Long jobs are generators: they yield ``Progress`` and return their result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from celltally.types import Progress

Result = TypeVar("Result")


def drain(
    job: Generator[Progress, None, Result],
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run a job to its end and return its result.

    Parameters
    ----------
    job
        A generator that yields ``Progress`` and returns the result.
    on_progress
        Called with every step.
    """
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            result: Result = end.value
            return result
        if on_progress is not None:
            on_progress(step)

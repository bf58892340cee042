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


def standing(step: Progress) -> Callable[[Progress], Progress]:
    """Tell ``relay`` to yield the same for every step of a job.

    The bar does not move, but a cancelled job can end in between.
    """
    return lambda _: step


def relay(
    job: Generator[Progress, None, Result], tell: Callable[[Progress], Progress]
) -> Generator[Progress, None, Result]:
    """Run a job as part of another one, with other words for its steps.

    Parameters
    ----------
    job
        A generator that yields ``Progress`` and returns the result.
    tell
        What is yielded for a step of the job.
    """
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield tell(step)

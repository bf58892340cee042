"""What the commands say, and where: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from celltally.progress import drain
from celltally.types import Progress

Result = TypeVar("Result")

__all__ = [
    "failure",
    "follow",
    "json_text",
    "plain",
    "print_json",
    "print_table",
    "progress_bar",
    "say",
]

#: Exit status of a program that was stopped with Ctrl-C.
INTERRUPTED = 130


def say(sentence: str) -> None:
    """Tell the user something that is no result."""
    print(plain(sentence), file=sys.stderr, flush=True)


def failure(sentence: str) -> None:
    """Tell the user what went wrong."""
    say(f"Error: {sentence}")


def plain(text: str) -> str:
    """Text that every terminal can show: one line, no control characters."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "�" for c in text)


def print_json(value: object) -> None:
    """Print a result for a program; figures that do not exist are null."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Give a result as JSON; figures that do not exist are null."""
    return json.dumps(_finite(value), indent=2)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text: drawn on a terminal, else plainly with tabs between."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(columns), *cells]:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))  # Text: brackets in a file name are no markup
    Console().print(table)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """Show a bar on stderr, if that is a terminal.

    Yields a function that draws a step: ``draw(step)`` with ``what`` and the
    step's message, ``draw(step, text)`` with other words.
    """
    if not sys.stderr.isatty():
        yield lambda step, text=None: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def draw(step: Progress, text: str | None = None) -> None:
            words = f"{what} {step.message}" if text is None else text
            bar.update(
                task,
                completed=step.done,
                total=step.total or None,
                description=escape(plain(words)),
            )

        yield draw


def follow(
    job: Generator[Progress, None, Result],
    what: str,
    on_step: Callable[[Callable[..., None], Progress], None],
) -> Result:
    """Run a job to its end under a bar; ``on_step(draw, step)`` says what of a step is shown.

    Ctrl-C stops it between two steps, where nothing is half done, and a second
    Ctrl-C at once; either comes out as a ``KeyboardInterrupt``, the job closed.
    """
    with progress_bar(what) as draw, _stop_between_steps() as stop_if_asked:

        def each(step: Progress) -> None:
            on_step(draw, step)
            stop_if_asked()

        try:
            return drain(job, each)
        finally:
            job.close()


@contextmanager
def _stop_between_steps() -> Iterator[Callable[[], None]]:
    """Put a Ctrl-C off until the yielded function is called."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    asked = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, earlier)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Kill programs that write a project, and fill its disk: what was said to be saved must be there.

A program makes scripted edits and says a line after each; it is killed (SIGKILL) some times,
at random moments, and started again. After every kill the project must hold every edit that
was acknowledged, and no more than one that was not; all dots, regions and what can be undone
must be what the edits make; and SQLite's integrity check must pass. The same for edits of
5,000 dots, for predictions with their maps, for new files and for files that are brought up
to a newer version. The full disk is a small file system in memory, which only root may mount.

    python benchmarks/kill_and_full_disk.py [--runs 20] [--edits 200] [--kills 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from project_lib.filling import full_disk, small_disk
from project_lib.killing import (
    LostError,
    kill_creation,
    kill_edits,
    kill_migration,
    kill_predictions,
)


class Table:
    """Says what was tried and what became of it, a row at a time."""

    def __init__(self) -> None:
        self.failures = 0
        print("| what | kills | outcome | s |\n|---|--:|---|--:|", flush=True)

    def row(self, what: str, kills: object, deed: Callable[[], object]) -> None:
        """Do something and say how it went."""
        start = time.perf_counter()
        try:
            said = str(deed())
        except LostError as error:
            self.failures += 1
            said = f"FAILED: {error}"
        print(f"| {what} | {kills} | {said} | {time.perf_counter() - start:.1f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3, help="in each run")
    arguments = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    table, kills = Table(), arguments.kills
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def edits(run: int) -> str:
            there = kill_edits(root / f"{run}.celltally", run, arguments.edits, kills)
            return f"nothing lost; killed at edit {', '.join(map(str, there))}"

        for run in range(arguments.runs):
            table.row(f"{arguments.edits} edits, run {run + 1}", kills, lambda run=run: edits(run))

        def bulk() -> str:
            kill_edits(root / "bulk.celltally", 1, 12, 10, size=5000, spread=0.4)
            return "each was done or not done at all"

        table.row("12 edits of 5,000 dots", 10, bulk)
        predictions = root / "predictions.celltally"
        table.row(
            "predictions of 2048² px",
            10,
            lambda: f"{kill_predictions(predictions, 1, 3, 10, spread=0.4)} whole",
        )
        table.row(
            "a new file", 20, lambda: f"{kill_creation(root / 'new', 1, 20)} were made in time"
        )
        old = root / "old"
        table.row(
            "a file brought up to a newer version",
            20,
            lambda: f"{kill_migration(old, 1, 20, n=3000)} were done in time",
        )
    for leave in (0, 3_000, 30_000, 300_000):

        def fill(leave: int = leave) -> str:
            with small_disk() as folder:
                found = full_disk(folder, leave, leave)
            return f"told after {found['edits before']} edits: “{found['told']}”; nothing lost"

        try:
            table.row(f"a full disk, {leave:,} bytes left", 0, fill)
        except OSError as error:
            print(f"\nThe full disk was not tried: {error}.")
            break
    return min(table.failures, 1)


if __name__ == "__main__":
    raise SystemExit(main())

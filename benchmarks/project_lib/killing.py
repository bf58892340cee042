"""Kill programs that write projects, and look what is left."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from celltally.project import schema
from celltally.project.counts import latest_counts, load_prediction
from celltally.project.edits import Work, diff_dots, region_record
from celltally.project.images import all_images, register
from celltally.project.store import Store
from celltally.project.work import load_work
from project_lib import scripted

SCRIPT = Path(scripted.__file__)


class LostError(AssertionError):
    """Something that was acknowledged is not there, or something is there that was never made."""


def expect(holds: object, words: str) -> None:
    """Fail with words where something does not hold."""
    if not holds:
        raise LostError(words)


@dataclass
class Killed:
    """What became of a program.

    Attributes
    ----------
    acknowledged
        Lines that it said: how much was on the disk by its own word.
    finished
        Whether it had ended by itself.
    """

    acknowledged: int
    finished: bool


def run(
    mode: str,
    path: Path,
    seed: int,
    n: int,
    *,
    size: int = 1,
    after: int | None = None,
    wait: float = 0.0,
) -> Killed:
    """Run a script, and kill it.

    Parameters
    ----------
    after
        Number of lines after which the killer waits; None: it is not killed.
    wait
        Seconds that it waits then.
    """
    words = [sys.executable, str(SCRIPT), mode, str(path), str(seed), str(n), str(size)]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    expect(program.stdout.readline() == "ready\n", "the program did not start")
    said = 0
    if after is not None:
        while said < after and program.stdout.readline():
            said += 1
        time.sleep(wait)
        program.send_signal(signal.SIGKILL)
    rest, errors = program.communicate()
    expect(program.returncode in (0, -signal.SIGKILL), f"the program failed: {errors}")
    return Killed(said + rest.count("\n"), program.returncode == 0)


# ---- edits ----


@dataclass
class Replay:
    """What a script makes in memory, so many edits on.

    Attributes
    ----------
    seed, size
        Of the script.
    """

    seed: int
    size: int = 1
    done: int = 0
    work: Work = field(default_factory=Work)

    def to(self, n: int) -> Work:
        """Return the work after ``n`` edits; no fewer than before."""
        for i in range(self.done, n):
            self.work.do(scripted.next_edit(self.work, self.seed, i, self.size))
        self.done = n
        return self.work


def check_edits(path: Path, replay: Replay, least: int) -> int:
    """Compare a project with what a script makes, and return how many edits are in it.

    Parameters
    ----------
    least
        Number of edits that were acknowledged; one more may be there.
    """
    with Store(path) as store:
        expect(store.check() == [], "the integrity check fails")
        number = scripted.image_of(store)
        there = scripted.steps_of(store, number)
        expect(least <= there <= least + 1, f"{least} edits were acknowledged, {there} are there")
        loaded = load_work(store, number)
    expected = replay.to(there)
    expect(not diff_dots(expected.dots, loaded.dots), "dots are not those that were made")
    made, found = ([region_record(r) for r in w.regions] for w in (expected, loaded))
    expect(made == found, "regions are not those that were made")
    for name in ("undoable", "redoable"):
        ends = [getattr(w, name) for w in (expected, loaded)]
        changes = [None if e is None else e.changes for e in ends]
        expect(changes[0] == changes[1], f"another edit is {name}")
    return there


def kill_edits(
    path: Path, seed: int, n: int, kills: int, *, size: int = 1, spread: float = 0.02
) -> list[int]:
    """Kill a script of ``n`` edits some times, going on after each, and check after each.

    Returns
    -------
    list of int
        Edits that were there after each kill.
    """
    rng = np.random.default_rng((seed, 7))
    replay, there, found = Replay(seed, size), 0, []
    for kill in range(kills):
        after = int(rng.integers(0, max((n - there) // (kills - kill), 1)))
        wait = float(rng.uniform(0, spread))
        killed = run("edits", path, seed, n, size=size, after=after, wait=wait)
        there = check_edits(path, replay, there + killed.acknowledged)
        found.append(there)
    finished = run("edits", path, seed, n, size=size)
    expect(finished.finished, "the script did not come to its end")
    expect(check_edits(path, replay, there + finished.acknowledged) == n, "edits are missing")
    return found


# ---- predictions, new files, migrations ----


def kill_predictions(path: Path, seed: int, n: int, kills: int, *, spread: float = 0.2) -> int:
    """Kill a script that keeps predictions with their maps; return how many there are."""
    rng = np.random.default_rng((seed, 8))
    there = 0
    for _ in range(kills):
        after, wait = int(rng.integers(0, 2)), float(rng.uniform(0, spread))
        killed = run("predict", path, seed, there + n, after=after, wait=wait)
        there = _check_predictions(path, seed, there + killed.acknowledged)
    return there


def _check_predictions(path: Path, seed: int, least: int) -> int:
    with Store(path) as store:
        expect(store.check() == [], "the integrity check fails")
        scripted.image_of(store)
        with store.read() as connection:
            count = sa.select(sa.func.count())
            there = int(connection.execute(count.select_from(schema.predictions)).scalar_one())
            with_maps = connection.execute(count.select_from(schema.maps)).scalar_one()
        expect(least <= there <= least + 1, f"{least} counts were acknowledged, {there} are there")
        expect(with_maps == min(there, 1), f"{with_maps} predictions have maps")
        if there:
            (newest,) = latest_counts(store)
            loaded = load_prediction(store, newest)
            assert loaded is not None
            made = scripted.prediction(seed, there - 1)
            expect(newest.count == made.count, "the count is another")
            expect(abs(loaded[0].count - made.count) < 1e-6, "the map is another")
            expect(len(loaded[1]) == 2000, "candidates are missing")
    return there


def kill_creation(path: Path, seed: int, kills: int, *, spread: float = 0.1) -> int:
    """Kill a program that makes a project; return how often it had been made."""
    rng = np.random.default_rng((seed, 9))
    made = 0
    for kill in range(kills):
        one = path.with_name(f"{kill} {path.name}")
        killed = run("create", one, seed, 0, after=0, wait=float(rng.uniform(0, spread)))
        made += killed.acknowledged
        with Store(one) as store:
            expect(store.check() == [], "the integrity check fails")
            expect(all_images(store) == [], "there are images in a new project")
            expect(store.setting("name") == one.stem, "the project has no name")
            register(store, name="first")
    return made


def kill_migration(path: Path, seed: int, kills: int, *, n: int = 500, spread: float = 0.1) -> int:
    """Kill a program that brings a project up to its version; return how often it was done."""
    rng = np.random.default_rng((seed, 10))
    done = 0
    for kill in range(kills):
        one = path.with_name(f"{kill} {path.name}")
        with Store(one) as store, store.write() as connection:
            rows = [{"name": f"{i}.tif", "added": "now"} for i in range(n)]
            connection.execute(schema.images.insert(), rows)
        killed = run("migrate", one, seed, 0, after=0, wait=float(rng.uniform(0, spread)))
        done += killed.acknowledged
        _check_migration(one, n, must=bool(killed.acknowledged))
        expect(run("migrate", one, seed, 0).finished, "it cannot be brought up any more")
        _check_migration(one, n, must=True)
    return done


def _check_migration(path: Path, n: int, *, must: bool) -> None:
    backup = path.with_name(f"{path.name}.v{schema.VERSION}.bak")
    state = _state_of(path)
    old, new = (schema.VERSION, n, 0), (schema.VERSION + 1, n, n)
    expect(state == new or (state == old and not must), f"the file is half way: {state}")
    if backup.exists():
        expect(_state_of(backup) == old, "the copy is not the old file")
    expect(state == old or backup.exists(), "there is no copy of the old file")


def _state_of(path: Path) -> tuple[int, int, int]:
    """Version of a file, number of its images, and of those that have a colour."""
    connection = sqlite3.connect(path)
    try:
        said = connection.execute("PRAGMA integrity_check").fetchall()
        expect(said == [("ok",)], f"the integrity check fails: {said}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        images = connection.execute("SELECT count(*) FROM images").fetchone()[0]
        has = "SELECT count(*) FROM pragma_table_info('images') WHERE name = 'colour'"
        if not connection.execute(has).fetchone()[0]:
            return version, images, 0
        coloured = connection.execute("SELECT count(colour) FROM images").fetchone()[0]
        return version, images, coloured
    finally:
        connection.close()

"""A program that edits a project as it was told, and says a line when something is on the disk.

What it does follows from a seed and the number of the edit alone, so that whoever kills it
can tell what must be there afterwards.

    python scripted.py MODE PATH SEED N [SIZE]
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from celltally.project import schema
from celltally.project.counts import add_prediction
from celltally.project.edits import Edit, Work, diff_dots, diff_regions
from celltally.project.images import register
from celltally.project.store import Store
from celltally.project.work import load_work, record
from celltally.types import Dots, Grid, Interval, Prediction, Region

#: What a person does, as often as is listed.
ACTIONS = ("add", "add", "move", "remove", "confirm", "region", "restate", "undo", "undo", "redo")
SQUARE = np.array([(0.0, 0), (0, 50), (50, 50), (50, 0)])
SIDE = 2048
#: Side of the maps of a scripted prediction.
MAP_SIDE = 1024
NO_INTERVAL = Interval(float("nan"), float("nan"), 0.95, "not calibrated", "scripted")


def _ids(rng: np.random.Generator, n: int) -> list[str]:
    return [rng.bytes(16).hex() for _ in range(n)]


def _new_dots(rng: np.random.Generator, n: int) -> Dots:
    yx, ids = rng.uniform(0, SIDE, (n, 2)), np.array(_ids(rng, n), dtype=np.str_)
    return Dots.new(yx, id=ids, score=rng.random(n), state="added", source="script")


def _joined(some: Dots, others: Dots) -> Dots:
    pairs = {f.name: (getattr(some, f.name), getattr(others, f.name)) for f in fields(Dots)}
    return Dots(**{name: np.concatenate(pair) for name, pair in pairs.items()})


def next_edit(work: Work, seed: int, i: int, size: int = 1) -> Edit:
    """Return the edit number ``i`` of a script; ``work`` is what those before it made.

    Parameters
    ----------
    size
        Dots that an edit adds, moves, removes or confirms.
    """
    rng = np.random.default_rng((seed, i))
    action = str(rng.choice(ACTIONS))
    if action == "undo" and work.undoable is not None:
        return work.undoable.undo()
    if action == "redo" and work.redoable is not None:
        return work.redoable.redo()
    dots, regions = work.dots[np.argsort(work.dots.id)], list(work.regions)
    changed, state = dots.yx.copy(), dots.state.astype("U16")
    rows = rng.permutation(len(dots))[:size]
    if action == "move" and len(dots):
        changed[rows] += rng.normal(0, 3, (len(rows), 2))
        state[rows] = "moved"
    elif action in ("remove", "confirm") and len(dots):
        state[rows] = "removed" if action == "remove" else "confirmed"
    elif action == "region":
        name = _ids(rng, 1)[0]
        return Edit(action, diff_regions([], [Region(SQUARE + i, "reviewed", id=name)]))
    elif action == "restate" and regions:
        old = regions[rng.integers(len(regions))]
        return Edit(action, diff_regions([old], [replace(old, stated=float(i))]))
    else:
        return Edit("add", diff_dots(Dots.new(), _new_dots(rng, size)))
    return Edit(action, diff_dots(dots, replace(dots, yx=changed, state=state)))


def prediction(seed: int, i: int) -> Prediction:
    """Return the prediction number ``i`` of a script."""
    rng = np.random.default_rng((seed, i))
    density = rng.gamma(0.05, 0.01, (1, MAP_SIDE, MAP_SIDE)).astype(np.float32)
    grid = Grid((MAP_SIDE, MAP_SIDE), (2.0, 2.0))
    return Prediction(density, density, grid, (2 * MAP_SIDE,) * 2, 12.0, "scripted", "f" * 64)


def add_scripted_prediction(store: Store, image_id: int, seed: int, i: int) -> int:
    """Keep the prediction number ``i`` of a script."""
    candidates = _new_dots(np.random.default_rng((seed, i, 1)), 2000)
    made = prediction(seed, i)
    return add_prediction(store, image_id, made, NO_INTERVAL, candidates, threshold=0.5)


def image_of(store: Store) -> int:
    """Return the number of the image that scripts work on."""
    return register(store, name="scripted", pixels_sha256="0" * 64)


def steps_of(store: Store, image_id: int) -> int:
    """Return how many edits of an image are in the log."""
    query = sa.select(sa.func.count()).where(schema.steps.c.image_id == image_id)
    with store.read() as connection:
        return int(connection.execute(query).scalar_one())


def install_migration() -> None:
    """Make this program one whose files have a version more, and take their time to get it."""
    version = schema.VERSION

    def migrate(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE images ADD COLUMN colour TEXT")
        for number in connection.execute(sa.select(schema.images.c.id)).scalars().all():
            connection.exec_driver_sql("UPDATE images SET colour = 'red' WHERE id = ?", (number,))

    schema.VERSION = version + 1
    schema.MIGRATIONS = {version: migrate}


def say(word: object) -> None:
    """Tell whoever listens, at once."""
    print(word, flush=True)


def main(mode: str, path: Path, seed: int, n: int, size: int) -> None:
    say("ready")
    if mode == "migrate":
        install_migration()
    with Store(path, author="script") as store:
        if mode in ("create", "migrate"):
            say(0)
            return
        number = image_of(store)
        if mode == "predict":
            query = sa.select(sa.func.count()).select_from(schema.predictions)
            with store.read() as connection:
                done = int(connection.execute(query).scalar_one())
            for i in range(done, n):
                add_scripted_prediction(store, number, seed, i)
                say(i)
            return
        work = load_work(store, number)
        for i in range(steps_of(store, number), n):
            record(store, number, work.do(next_edit(work, seed, i, size)))
            say(i)


if __name__ == "__main__":
    mode, path, seed, n, *size = sys.argv[1:]
    main(mode, Path(path), int(seed), int(n), int(size[0]) if size else 1)

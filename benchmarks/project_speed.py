"""Time what a person waits for in a project: an edit, opening, an image, a count.

    python benchmarks/project_speed.py [--images 1000] [--dots 1000] [--out FOLDER]

The large project is opened by a program of its own, when the system has forgotten its file
(where it can be asked to). Times are of the wall's clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from project_lib.scripted import next_edit
from scipy.ndimage import gaussian_filter

from celltally.project import schema
from celltally.project import store as store_module
from celltally.project.counts import add_prediction, latest_counts, load_prediction
from celltally.project.edits import Edit, Work, diff_dots, diff_regions
from celltally.project.images import all_images, register
from celltally.project.remembering import remembered
from celltally.project.store import Store
from celltally.project.work import load_work, record
from celltally.types import Dots, Grid, Interval, Prediction, Region

INTERVAL = Interval(900.0, 1100.0, 0.95, "calibrated")
MODEL = "f" * 64


def some_dots(n: int, rng: np.random.Generator, side: int = 2048) -> Dots:
    """Proposed dots anywhere."""
    return Dots.new(rng.uniform(0, side, (n, 2)), score=rng.random(n), source=MODEL)


def some_prediction(side: int, n: int, rng: np.random.Generator) -> tuple[Prediction, Dots]:
    """Return a prediction of an image with cells of 12 px, at half of its resolution."""
    dots, half = some_dots(n, rng, side), side // 2
    density = np.zeros((1, half, half), np.float32)
    rows, columns = np.minimum((dots.yx / 2).astype(int), half - 1).T
    np.add.at(density[0], (rows, columns), 1.0)
    density[0] = gaussian_filter(density[0], 2.0) + rng.normal(0, 1e-5, (half, half))
    variance = np.abs(density) + np.float32(1e-4) * rng.random(density.shape, dtype=np.float32)
    grid = Grid((half, half), (2.0, 2.0))
    return Prediction(density, variance, grid, (side, side), 12.0, "model", MODEL), dots


def count(store: Store, image_id: int, dots: Dots, side: int = 64) -> None:
    """Keep dots of a model, with a small prediction."""
    rng = np.random.default_rng(image_id)
    made, _ = some_prediction(side, 20, rng)
    add_prediction(store, image_id, made, INTERVAL, dots, threshold=0.5)
    record(store, image_id, Edit("count", diff_dots(Dots.new(), dots), "system"))


def print_row(what: str, seconds: list[float] | float, more: str = "") -> None:
    """Print a row of the table."""
    values = [seconds] if isinstance(seconds, float) else seconds
    middle, worst = statistics.median(values) * 1e3, max(values) * 1e3
    print(f"| {what} | {middle:,.1f} | {worst:,.1f} | {len(values)} | {more} |", flush=True)


def timed(deed: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    deed()
    return time.perf_counter() - start


def edits(folder: Path, *, shared: bool, n: int = 200) -> None:
    """Time single edits of an image with 5,000 dots, in a project with 100,000."""
    rng = np.random.default_rng(0)
    real = store_module.on_network_share
    store_module.on_network_share = lambda _: shared
    path = folder / f"edits-{shared}.celltally"
    with Store(path) as store:
        numbers = [register(store, name=str(i), pixels_sha256=str(i)) for i in range(20)]
        for number in numbers:
            count(store, number, some_dots(5000, rng))
        work = load_work(store, numbers[7])
        in_memory, on_disk = [], []
        for i in range(n):
            start = time.perf_counter()
            edit = work.do(next_edit(work, 0, i))
            between = time.perf_counter()
            record(store, numbers[7], edit)
            on_disk.append(time.perf_counter() - between)
            in_memory.append(between - start)
        journal = "rollback journal" if shared else "write-ahead log"
        print_row(f"an edit until it is on the disk ({journal})", on_disk)
        if shared:
            store_module.on_network_share = real
            return
        print_row("the same edit in memory, its making included", in_memory)
        yx = work.dots.yx + 1.0
        moved = Dots(**{**{f: getattr(work.dots, f) for f in Dots.__dataclass_fields__}, "yx": yx})
        bulk = Edit("move", diff_dots(work.dots, moved))
        print_row(
            f"{len(bulk.changes):,} dots moved in one edit, in memory",
            timed(lambda: work.do(bulk)),
        )
        print_row("the same until it is on the disk", timed(lambda: record(store, 8, bulk)))
        print_row("its undo until it is on the disk",
                  timed(lambda: record(store, 8, work.do(bulk.undo()))))  # fmt: skip
        print_row("load this image's dots and history", [
            timed(lambda: load_work(store, numbers[7])) for _ in range(5)
        ])  # fmt: skip


def build(path: Path, images: int, dots: int) -> None:
    """Make the large project; its first image has 5,000 dots and 200 edits."""
    rng = np.random.default_rng(1)
    square = np.array([(0.0, 0), (0, 500), (500, 500), (500, 0)])
    with Store(path) as store:
        for i in range(images):
            number = register(
                store, name=f"plate1_{i:05d}.tif", pixels_sha256=f"{i:064d}", shape=(2048, 2048)
            )
            count(store, number, some_dots(5000 if i == 0 else dots, rng))
            region = Region(square, "reviewed")
            record(store, number, Edit("review", diff_regions([], [region])))
        work: Work = load_work(store, 1)
        for i in range(200):
            record(store, 1, work.do(next_edit(work, 1, i)))


def dots_by_state(store: Store) -> int:
    """Count the dots of every image by state; return how many there are."""
    table = schema.dots.c
    columns = (table.image_id, table.t, table.z, table.state)
    query = sa.select(*columns, sa.func.count().label("n")).group_by(*columns)
    with store.read() as connection:
        return sum(row.n for row in connection.execute(query))


def opened(path: Path) -> None:
    """Open a project and look at what a window lists; print the seconds of each step."""
    steps: dict[str, float] = {}

    def step(name: str, deed: Callable[[], object]) -> object:
        start = time.perf_counter()
        found = deed()
        steps[name] = time.perf_counter() - start
        return found

    store = step("open", lambda: Store(path))
    assert isinstance(store, Store)
    step("list the images", lambda: all_images(store))
    step("list the newest counts", lambda: latest_counts(store))
    n = step("count the dots of every image by state", lambda: dots_by_state(store))
    step("list the remembered figures", lambda: remembered(store))
    steps["together"] = sum(steps.values())
    step("load an image with 5,000 dots and 200 edits", lambda: load_work(store, 1))
    step("close", store.close)
    print(json.dumps({"dots": n, "steps": steps}))


def forget(path: Path) -> bool:
    """Ask the system to forget what it has read of a file."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def large(folder: Path, images: int, dots: int, repeats: int = 5) -> None:
    """Time the opening of a large project."""
    path = folder / "large.celltally"
    build(path, images, dots)
    size = path.stat().st_size / 1e6
    found: dict[str, list[float]] = {}
    cold = True
    for _ in range(repeats):
        cold &= forget(path)
        words = [sys.executable, __file__, "--open", str(path)]
        said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        for name, seconds in said["steps"].items():
            found.setdefault(name, []).append(seconds)
    print(f"| *{images:,} images, {said['dots']:,} dots, {size:,.0f} MB, "
          f"{'not in memory' if cold else 'in memory'}* | | | | |")  # fmt: skip
    for name, seconds in found.items():
        print_row(name, seconds)


def predictions(folder: Path) -> None:
    """Time what it takes to keep and to load a count."""
    for side, n in ((2048, 3000), (4096, 12_000)):
        path = folder / f"{side}.celltally"
        rng = np.random.default_rng(side)
        with Store(path) as store:
            number = register(store, name="a", pixels_sha256="a")
            made, dots = some_prediction(side, n, rng)

            def keep(store=store, number=number, made=made, dots=dots) -> None:
                add_prediction(store, number, made, INTERVAL, dots, threshold=0.5)

            kept = [timed(keep) for _ in range(3)]
            (newest,) = latest_counts(store)
            loaded = [timed(lambda s=store, c=newest: load_prediction(s, c)) for _ in range(3)]
            with store.read() as connection:
                blobs = [sa.func.length(c) for c in schema.maps.c if c.name != "prediction_id"]
                size = sum(connection.execute(sa.select(*blobs)).one()) / 1e6
        print_row(f"keep a count of {side}² px", kept, f"{size:.1f} MB")
        print_row(f"load a count of {side}² px", loaded)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--dots", type=int, default=1000, help="of each image")
    parser.add_argument("--out", type=Path, help="folder on the disk that is measured")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.open is not None:
        opened(arguments.open)
        return 0
    print("| what | median ms | worst ms | times | |\n|---|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        edits(Path(folder), shared=False)
        edits(Path(folder), shared=True)
        predictions(Path(folder))
        large(Path(folder), arguments.images, arguments.dots)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

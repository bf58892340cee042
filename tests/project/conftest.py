"""A project with one image, for the tests of every part of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from celltally.density.stacks import join_dots
from celltally.intervals import of as interval_of
from celltally.project.counts import add_prediction
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.images import register
from celltally.project.store import Store
from celltally.project.work import load_work, record
from celltally.types import Calibration, Dots, Grid, Prediction, Region


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.celltally"


@pytest.fixture
def store(path):
    with Store(path, author="Ada") as store:
        yield store


@pytest.fixture
def image_id(store):
    return register(store, name="cells.tif", shape=(100, 120))


@pytest.fixture
def dots():
    """Some dots with everything that a dot may have."""

    def make(n: int, seed: int = 0, **columns: object) -> Dots:
        rng = np.random.default_rng(seed)
        score = rng.random(n).astype(np.float32)
        score[::3] = np.nan
        values = {"t": rng.integers(0, 3, n), "z": rng.integers(0, 2, n), "score": score}
        values["label"] = rng.choice(["cell", "Zelle ü"], n)
        return Dots.new(rng.uniform(-0.5, 100, (n, 2)), **(values | columns))

    return make


@pytest.fixture
def told():
    """All that is known of dots and regions, in an order that says nothing."""

    def tell(dots, regions) -> tuple[list[str], list[str]]:
        columns = (dots.id, dots.yx, dots.t, dots.z, dots.label, dots.score, dots.state)
        rows = zip(*(c.tolist() for c in (*columns, dots.source)), strict=True)
        parts = [
            json.dumps([r.id, r.polygon.tolist(), r.kind, r.name, r.stated, r.t, r.z])
            for r in regions
        ]
        return sorted(map(repr, rows)), parts

    return tell


@pytest.fixture
def count_image(store):
    """Keep a count of an image: 0.01 cells per pixel, in density cells of 10 px."""

    def count(image_id: int, **options: object) -> int:
        shape = options.pop("shape", (100, 120))
        height, width = shape[0] // 10, shape[1] // 10
        classes = options.pop("classes", ("cell",))
        scores = tuple(np.linspace(0, 2, 40))
        prediction = Prediction(
            density=np.full((len(classes), height, width), 1 / len(classes), dtype=np.float32),
            variance=np.full((len(classes), height, width), 0.5, dtype=np.float32),
            grid=Grid((height, width), step=(10.0, 10.0)),
            image_shape=shape,
            diameter_px=options.pop("diameter_px", 12.0),
            model=options.pop("model", "tiny"),
            model_sha256=options.pop("sha256", "a" * 64),
            classes=classes,
            calibration=Calibration(1.0, 0.0, 4.0, scores, 40, 40, "2024-01-01"),
            calibration_sha256=options.pop("calibration_sha256", "c" * 64),
        )
        options = {"threshold": 0.5} | options
        return add_prediction(
            store, image_id, prediction, interval_of(prediction), Dots.new(), **options
        )

    return count


@pytest.fixture
def put(store):
    """Put dots and regions into an image's work, as one edit."""

    def put(
        image_id: int, dots: Dots | None = None, *regions: Region, author: str | None = None
    ) -> None:
        work = load_work(store, image_id)
        before = work.dots
        after = before if dots is None else join_dots([before, dots])
        changes = (*diff_dots(before, after), *diff_regions((), regions))
        record(store, image_id, Edit("draw", changes), author=author)

    return put


@pytest.fixture
def rectangle():
    """Make a region that is a rectangle along the image's sides."""

    def make(y0: float, x0: float, y1: float, x1: float, **options: object) -> Region:
        return Region(np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)]), **options)

    return make

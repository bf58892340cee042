"""A project with one image, for the tests of every part of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from celltally.project.images import register
from celltally.project.store import Store
from celltally.types import Dots


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

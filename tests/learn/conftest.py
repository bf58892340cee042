"""Fixtures for what is learned from: data sets of which parts were reviewed, and a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest


def _rectangle(y0, x0, y1, x1, kind="reviewed", **options):
    """Region of the pixels from (y0, x0) to just before (y1, x1)."""
    from celltally.types import Region

    corners = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float) - 0.5
    return Region(corners, kind, **options)


@pytest.fixture
def rectangle():
    return _rectangle


@pytest.fixture
def reviewed_folder(dataset_folder):
    """Write a data set of drawn cells with regions of some images, by their number."""

    def make(
        counts: Sequence[int] = (6,),
        regions: Mapping[int, Sequence[object]] | None = None,
        *,
        name: str = "cells",
        **options: object,
    ) -> Path:
        from celltally.io import write_regions

        folder = dataset_folder(name, counts, **options)
        (folder / "regions").mkdir()
        for number, own in (regions or {}).items():
            write_regions(folder / "regions" / f"{name}-{number}.geojson", own)
        return folder

    return make


@pytest.fixture
def write_dots():
    """Replace the dots of an image: positions, and a state for all or each of them."""

    def write(folder: Path, stem: str, yx: Sequence[Sequence[float]], state="confirmed") -> None:
        states = [state] * len(yx) if isinstance(state, str) else state
        rows = [f"{y},{x},{s}" for (y, x), s in zip(yx, states, strict=True)]
        (folder / "dots" / f"{stem}.csv").write_text("\n".join(["y,x,state", *rows]) + "\n")

    return write


@pytest.fixture
def reviewed_images():
    """Read the reviewed images of data set folders at model scale."""

    def read(*folders: Path, nominal_px: float = 12.0):
        from celltally.learn.regions.reviewed import iter_reviewed
        from celltally.progress import drain

        return drain(iter_reviewed(folders, nominal_px))[0]

    return read


@pytest.fixture
def rehearsing(tiny_model, prepared_images):
    """A tiny model with patches of what it is taken to have learned from."""
    from celltally.learn.replay import make_replay

    images = prepared_images("older", [5, 9, 0, 7])
    rng = np.random.default_rng(0)
    stored = make_replay(images, rng, free=["older"], patches=4, side=48)
    return replace(tiny_model, replay=stored)


@pytest.fixture
def windows_in(reviewed_images):
    """Windows of all that teaches in a data set folder, as a tiny network takes them."""

    def make(folder: Path):
        from celltally.learn.regions.windows import teaching_windows

        return [
            window
            for image in reviewed_images(folder)
            for window in teaching_windows(image, nominal_px=12.0, stride=2, multiple=4)
        ]

    return make

"""A simulated biologist: knows the true dots, and corrects a model region after region."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celltally.density import dots_from_prediction, match_dots
from celltally.density.inside import inside
from celltally.io import read_image, select_pixels, write_dots, write_regions
from celltally.learn.data import Dataset, Sample, sample_dots
from celltally.model import Model
from celltally.predict import predict
from celltally.types import Dots, Region

__all__ = ["Biologist", "Tile", "polygon_of", "write_dataset"]


@dataclass(frozen=True)
class Tile:
    """A part of an image that can be reviewed.

    Attributes
    ----------
    stem
        Of the image.
    window
        ``(y0, x0, y1, x1)`` in image pixels.
    """

    stem: str
    window: tuple[float, float, float, float]


def polygon_of(window: Sequence[float]) -> NDArray[np.float64]:
    """Corners of a window."""
    y0, x0, y1, x1 = window
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=np.float64)


@dataclass(eq=False)
class Biologist:
    """Reviews tiles of the images of a data set, whose dots are the truth.

    Attributes
    ----------
    dataset, samples
        The images.
    model
        Whose dots are corrected; None: all dots are added.
    """

    dataset: Dataset
    samples: Sequence[Sample]
    model: Model | None
    _proposed: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def review(
        self,
        tiles: Sequence[Tile],
        folder: Path,
        *,
        stated: bool = False,
        audits: Sequence[Tile] = (),
    ) -> tuple[int, int]:
        """Write a data set folder of reviewed tiles, with all their dots or only their counts.

        ``audits`` are reviewed to judge, and teach nothing.

        Returns
        -------
        tuple of int
            Cells in the tiles that teach, and dots that had to be added or removed for them.
        """
        for part in ("images", "dots", "regions"):
            (folder / part).mkdir(parents=True)
        cells = corrected = 0
        kinds = [(tile, "reviewed") for tile in tiles] + [(tile, "audit") for tile in audits]
        for stem in dict.fromkeys(tile.stem for tile, _ in kinds):
            sample = next(s for s in self.samples if s.stem == stem)
            (folder / "images" / sample.image.name).symlink_to(sample.image.resolve())
            truth = sample_dots(sample).yx
            regions, found = [], []
            for tile, kind in kinds:
                if tile.stem != stem:
                    continue
                polygon = polygon_of(tile.window)
                own = truth[inside(truth, polygon)]
                cells += len(own) if kind == "reviewed" else 0
                regions.append(Region(polygon, kind, stated=float(len(own)) if stated else None))
                if not stated:
                    dots = self._corrected(sample, own, polygon)
                    changed = int(np.isin(dots.state, ("added", "removed")).sum())
                    corrected += changed if kind == "reviewed" else 0
                    found.append(dots)
            write_dots(folder / "dots" / f"{stem}.csv", _joined(found))
            write_regions(folder / "regions" / f"{stem}.geojson", regions)
        _write_meta(self.dataset, self.samples, f"{self.dataset.name}-reviewed", folder)
        return cells, corrected

    def _corrected(
        self, sample: Sample, own: NDArray[np.float64], polygon: NDArray[np.float64]
    ) -> Dots:
        """Confirm the model's dots that are cells, remove the others, add what is missing."""
        if self.model is None:
            return Dots.new(own, state=np.full(len(own), "added"))
        if sample.stem not in self._proposed:
            pixels = select_pixels(read_image(sample.image), channel=self.dataset.channel)
            prediction = predict(self.model, pixels, diameter_px=self.dataset.diameter_px)
            self._proposed[sample.stem] = dots_from_prediction(prediction).yx
        proposed = self._proposed[sample.stem]
        proposed = proposed[inside(proposed, polygon)]
        radius = 0.5 * (self.dataset.diameter_px or 20.0)
        matched = match_dots(own, proposed, radius)
        missed = np.setdiff1d(np.arange(len(own)), matched.pairs[:, 0])
        wrong = np.setdiff1d(np.arange(len(proposed)), matched.pairs[:, 1])
        right = own[matched.pairs[:, 0]]
        yx = np.concatenate([right, own[missed], proposed[wrong]])
        states = ["confirmed"] * len(right) + ["added"] * len(missed) + ["removed"] * len(wrong)
        return Dots.new(yx, state=np.array(states, dtype=np.str_))


def write_dataset(dataset: Dataset, samples: Sequence[Sample], folder: Path) -> None:
    """Write whole images with their true dots, as a data set folder."""
    for part in ("images", "dots"):
        (folder / part).mkdir(parents=True)
    for sample in samples:
        (folder / "images" / sample.image.name).symlink_to(sample.image.resolve())
        write_dots(folder / "dots" / f"{sample.stem}.csv", Dots.new(sample_dots(sample).yx))
    _write_meta(dataset, samples, f"{dataset.name}-pool", folder)


def _write_meta(dataset: Dataset, samples: Sequence[Sample], name: str, folder: Path) -> None:
    meta = {
        "name": name,
        "diameter_px": dataset.diameter_px,
        "channel": dataset.channel,
        "licence": dataset.licence,
        "labels": ["dots"],
        "groups": {s.stem: s.group.split("/", 1)[-1] for s in samples},
    }
    (folder / "dataset.json").write_text(json.dumps(meta), encoding="utf-8")


def _joined(parts: Sequence[Dots]) -> Dots:
    if not parts:
        return Dots.new()
    yx = np.concatenate([p.yx for p in parts])
    return Dots.new(yx, state=np.concatenate([p.state for p in parts]))

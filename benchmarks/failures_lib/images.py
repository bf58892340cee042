"""The images that judge models: none of these models has learned from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from errors_lib.counted import Counted, Counter
from errors_lib.study import FOCUS, read_pixels
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample, read_dataset, sample_count
from celltally.learn.seen import image_hash
from failures_lib.nuclei import Nuclei, read_nuclei
from failures_lib.study import BLURS, blurred, nucleus_rows

__all__ = ["Images", "unseen"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one set, and the models that they judge.

    Attributes
    ----------
    name
        Of the set.
    pairs
        Images with the data set that each is from.
    counters
        What counts them, by the model's name.
    """

    name: str
    pairs: tuple[tuple[Dataset, Sample], ...]
    counters: dict[str, Counter]
    _pixels: dict[tuple[int, float], NDArray[np.generic]] = field(default_factory=dict, repr=False)
    _counted: dict[tuple[str, int, float], Counted] = field(default_factory=dict, repr=False)

    @cached_property
    def nuclei(self) -> list[Nuclei]:
        """The nuclei of each image."""
        return [read_nuclei(sample) for _, sample in self.pairs]

    @cached_property
    def chosen_by(self) -> dict[str, int]:
        """How many of the images chose the weights of each model."""
        hashes = {image_hash(sample) for _, sample in self.pairs}
        return {name: len(hashes & {*c.record.chosen_by}) for name, c in self.counters.items()}

    def pixels(self, at: int, sigma_px: float = 0) -> NDArray[np.generic]:
        """Plane of an image, blurred."""
        key = at, sigma_px
        if key not in self._pixels:
            self._pixels[key] = blurred(read_pixels(*self.pairs[at]), sigma_px)
        return self._pixels[key]

    def count(self, model: str, at: int, sigma_px: float = 0) -> Counted:
        """Count an image, blurred, with the diameter of its set."""
        key = model, at, sigma_px
        if key not in self._counted:
            pixels, diameter = self.pixels(at, sigma_px), self.pairs[at][0].diameter_px
            self._counted[key] = self.counters[model].count(pixels, diameter)
        return self._counted[key]

    @cached_property
    def nucleus_table(self) -> pd.DataFrame:
        """Rows of ``nucleus_rows`` of all images (``at``), ``nucleus`` by nucleus, and models."""
        rows = []
        for model in self.counters:
            for at, nuclei in enumerate(self.nuclei):
                counted = self.count(model, at)
                table = nucleus_rows(nuclei, counted, counted.diameter_px)
                table = table.assign(at=at, nucleus=range(len(table)))
                rows.append(self._about(table, model, at))
        return pd.concat(rows, ignore_index=True)

    def blur_table(self) -> pd.DataFrame:
        """Count all images with all models and blurs (``level``), nuclei of either kind beside."""
        rows = []
        for model in self.counters:
            for at, nuclei in enumerate(self.nuclei):
                touching = int(nuclei.touching.sum())
                numbers = {"alone": len(nuclei.yx) - touching, "touching": touching}
                table = pd.DataFrame(
                    [numbers | self._error(model, at, s) | {"level": s} for s in BLURS]
                )
                rows.append(self._about(table, model, at))
        return pd.concat(rows, ignore_index=True)

    def focus_table(self) -> pd.DataFrame:
        """Count all images with all models; ``level`` is the focus that the name tells."""
        rows = []
        for model in self.counters:
            for at in range(len(self.pairs)):
                rows.append(self._about(pd.DataFrame([self._error(model, at)]), model, at))
        table = pd.concat(rows, ignore_index=True)
        return table.assign(level=table["image"].str.extract(FOCUS[self.name])[0])

    def _error(self, model: str, at: int, sigma_px: float = 0) -> dict[str, float]:
        true, count = sample_count(self.pairs[at][1]), self.count(model, at, sigma_px).count
        return {"true": true, "count": count, "error": count - true}

    def _about(self, table: pd.DataFrame, model: str, at: int) -> pd.DataFrame:
        sample = self.pairs[at][1]
        return table.assign(image=sample.image.name, group=sample.group, model=model)


def unseen(
    data: Path, name: str, parts: Sequence[str], counters: Iterable[Counter]
) -> Iterator[tuple[Dataset, Sample]]:
    """Images of parts of a set that taught none of the models.

    Raises
    ------
    UserError
        When there is none.
    """
    taught = {image for counter in counters for image in counter.record.taught_by}
    none = True
    for part in parts:
        dataset = read_dataset(data / name / part)
        for sample in dataset.samples:
            if image_hash(sample) not in taught:
                none = False
                yield dataset, sample
    if none:
        raise UserError(
            f"every image of {name} in {', '.join(parts)} has taught one of the models; name a "
            "part in --parts that has others"
        )

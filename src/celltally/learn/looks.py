"""What images look like that a model was made with, so that others can be told from them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from celltally.appearance import appearance
from celltally.diameter import diameter_of
from celltally.intervals import MOST_APPEARANCES
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample
from celltally.preprocess import image_statistics, normalise
from celltally.types import Progress

__all__ = ["Look", "iter_looks"]


@dataclass(frozen=True)
class Look:
    """One image at one cell diameter.

    Attributes
    ----------
    group
        What is independent, named with its data set.
    statistics, appearance
        As of a ``Prediction``.
    """

    group: str
    statistics: Mapping[str, float]
    appearance: Mapping[str, float]


def iter_looks(
    pairs: Sequence[tuple[Dataset, Sample]],
) -> Generator[Progress, None, list[Look]]:
    """Look at images, each with the cell diameter that its set states and with the estimate.

    Users will count with either. Of many images of a set some are chosen, evenly; those that
    show nothing are left out.
    """
    sets: dict[str, list[tuple[Dataset, Sample]]] = {}
    for pair in pairs:
        sets.setdefault(pair[0].name, []).append(pair)
    most = MOST_APPEARANCES // (2 * max(len(sets), 1))
    chosen = [
        members[i]
        for members in sets.values()
        for i in np.unique(np.linspace(0, len(members) - 1, most).round().astype(int))
    ]
    looks = []
    for done, (dataset, sample) in enumerate(chosen, start=1):
        pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
        values, scaling = normalise(pixels)
        estimated = None if scaling.empty else diameter_of(values)
        if estimated is not None:
            statistics = image_statistics(values, scaling)
            for diameter in dict.fromkeys((dataset.diameter_px or estimated, estimated)):
                used = {"diameter_px": diameter, "diameter_ratio": diameter / estimated}
                looks.append(
                    Look(
                        f"{dataset.name}/{sample.group}",
                        {**statistics, **used},
                        appearance(values, diameter),
                    )
                )
        yield Progress(done, len(chosen), "looking at the images")
    return looks

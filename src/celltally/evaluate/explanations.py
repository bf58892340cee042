"""How good explanations are, measured without experts.

CountXplain (MIDL 2025) had experts look at the boxes of its prototypes: they agreed that
97.25 % of those of each group show cells, or background. Where the true dots are known,
the same can be asked of them, box by box; what else is measured here needs no labels at all.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from celltally.evaluate.changes import (
    blank_fields,
    fill_places,
    most_similar_places,
    noisy,
    random_places,
    turned,
    turned_back,
)
from celltally.evaluate.purity import JudgedBox, judge_boxes, share_found_again
from celltally.explain.boxes import find_boxes
from celltally.explain.similarity import Similarities, check_prototypes, iter_similarities
from celltally.learn.fit import FitConfig
from celltally.model import Model
from celltally.networks.groups import (
    distinct,
    excess_cosine,
    group_cosines,
    least_distance,
    tolerance_of,
)
from celltally.predict import iter_predict
from celltally.progress import relay
from celltally.types import Prediction, Progress

__all__ = [
    "PER_PROTOTYPE",
    "Explaining",
    "ImageMeasures",
    "count_blank_boxes",
    "explanation_figures",
    "iter_measure",
    "per_prototype",
]

#: Columns of ``explanations.csv``.
PER_PROTOTYPE = (
    *("prototype", "kind", "weight", "images", "boxes", "purity", "mixed"),
    *("greatest_similarity", "mean_cosine", "nearest", "nearest_cosine", "nearest_distance"),
)


@dataclass(frozen=True, eq=False)
class ImageMeasures:
    """What was measured of one image.

    Attributes
    ----------
    boxes
        Its boxes, judged.
    difference
        Greatest difference of contributions and bias to the density, over the greatest
        magnitude of the density.
    count
        The integral of the density; None where the image was not changed.
    removed, removed_elsewhere
        The same with the places of the most similar cell boxes removed, and with as large
        ones anywhere.
    again
        Boxes found again and all boxes, by how the image was changed and what was compared:
        ``noise``, ``noise_kind``, ``turn``, ``turn_kind``.
    """

    boxes: list[JudgedBox]
    difference: float
    count: float | None = None
    removed: float = math.nan
    removed_elsewhere: float = math.nan
    again: dict[str, tuple[int, int]] = field(default_factory=dict)


def iter_measure(
    model: Model,
    pixels: NDArray[np.generic],
    prediction: Prediction,
    dots: NDArray[np.float64] | None,
    diameter_px: float,
    *,
    change: bool,
    rng: np.random.Generator,
    device: str = "auto",
) -> Generator[Progress, None, ImageMeasures]:
    """Measure the explanations of an image that has been counted.

    Parameters
    ----------
    model
        One with prototypes.
    pixels
        The plane that was counted.
    prediction
        What was counted.
    dots
        ``(n, 2)`` true dots in image pixels; None where only a count is known.
    diameter_px
        Cell diameter in image pixels, by which boxes are grown.
    change
        Whether the image is also changed, which takes four more runs of the network.
    rng
        Of random places and noise.
    device
        See ``iter_predict``.

    Yields
    ------
    Progress
        After every tile.
    """

    def compare(shown: NDArray[Any]) -> Generator[Progress, None, Similarities]:
        return (
            yield from iter_similarities(
                model, shown, diameter_px=prediction.diameter_px, device=device
            )
        )

    def count(shown: NDArray[Any]) -> Generator[Progress, None, float]:
        predicted = yield from iter_predict(
            model, shown, diameter_px=prediction.diameter_px, device=device
        )
        return float(predicted.density.sum(dtype=np.float64))

    found = yield from compare(pixels)
    greatest = _greatest(model)
    boxes = judge_boxes(found, greatest, dots, diameter_px)
    difference = _difference(found, prediction)
    if not change:
        return ImageMeasures(boxes, difference)
    before = sorted((judged.box for judged in boxes), key=lambda box: -box.similarity)
    shape = (pixels.shape[0], pixels.shape[1])
    places = most_similar_places(before, diameter_px, shape)
    removed = yield from count(fill_places(pixels, places, diameter_px))
    elsewhere = random_places(places, shape, rng)
    removed_elsewhere = yield from count(fill_places(pixels, elsewhere, diameter_px))
    noise = find_boxes((yield from compare(noisy(pixels, rng))), greatest)
    turn = turned_back(find_boxes((yield from compare(turned(pixels))), greatest), shape[1])
    again = {
        name + suffix: share_found_again(before, after, diameter_px / 2, same_prototype=same)
        for name, after in (("noise", noise), ("turn", turn))
        for suffix, same in (("", True), ("_kind", False))
    }
    counted = float(prediction.density.sum(dtype=np.float64))
    return ImageMeasures(boxes, difference, counted, removed, removed_elsewhere, again)


def count_blank_boxes(
    model: Model, diameter_px: float | None, device: str = "auto"
) -> Generator[Progress, None, int]:
    """Count the boxes in fields that show nothing: there should be none."""
    boxes = 0
    for blank in blank_fields():
        found = yield from iter_similarities(
            model, blank, diameter_px=diameter_px or model.diameter_px, device=device
        )
        boxes += len(find_boxes(found, _greatest(model)))
    return boxes


def explanation_figures(
    model: Model, images: Sequence[ImageMeasures], blank_boxes: int
) -> dict[str, float]:
    """Figures of a model's explanations over the images of a data set.

    Parameters
    ----------
    model
        One with prototypes.
    images
        What was measured of each.
    blank_boxes
        Of ``count_blank_boxes``.

    Returns
    -------
    dict
        Of boxes, where true dots are known: ``cell_purity``, pure cell boxes / cell boxes,
        and ``background_purity``, pure background boxes / background boxes (``JudgedBox``
        says which are pure); ``mixed_cell_prototypes`` and ``mixed_background_prototypes``,
        the share of each group's prototypes with boxes of which most are impure.
        ``cell_boxes``, ``background_boxes``; ``silent_prototypes``, the number of those
        without a box in any image; ``blank_boxes``, in fields that show nothing.

        Of prototypes, with c the cosine similarity of two of a group: ``mean_cosine``, the mean
        of c over all pairs, then over groups; ``excess_cosine``, the same of max(c − τ, 0),
        which is the diversity loss; ``tolerance``, τ; ``least_distance``, the smallest L2
        distance; ``distinct_prototypes`` of ``prototypes``, where those linked by c ≥ 0.95
        count once.

        ``additivity_error``: the greatest |Σ_k w_k·s_k + b − density| of any density cell over
        the greatest |density| of its image, of all images.

        Of the images that were changed: ``removed_share``, 1 − Σ count′ / Σ count, with
        count′ that of the image without the places of its most similar cell boxes
        (``most_similar_places``, ``fill_places``), and ``removed_share_random`` with as large
        places anywhere; ``noise_same`` and ``turn_same``, the share of boxes for which the image
        with noise or turned by 90° has a box of the same prototype whose centre is no farther
        away than half a cell diameter; ``noise_same_kind`` and ``turn_same_kind`` with a box of
        any prototype of the same group. NaN where a figure does not exist.
    """
    network = check_prototypes(model)
    table = per_prototype(model, images)
    kinds = {kind: table[table["kind"] == kind] for kind in ("cell", "background")}
    tolerance = tolerance_of(network, FitConfig.tolerance)
    figures: dict[str, float] = {}
    for kind, rows in kinds.items():
        judged = rows.dropna(subset=["purity"])
        n = judged["boxes"].sum()
        figures[f"{kind}_purity"] = _ratio((judged["purity"] * judged["boxes"]).sum(), n)
        mixed = judged["mixed"].astype(float)
        figures[f"mixed_{kind}_prototypes"] = float(mixed.mean()) if len(mixed) else math.nan
    figures |= {f"{kind}_boxes": int(rows["boxes"].sum()) for kind, rows in kinds.items()}
    cosines = [_off_diagonal(c).mean() for c in group_cosines(network).values() if len(c) > 1]
    changed = [image for image in images if image.count is not None]
    total = sum(image.count or 0.0 for image in changed)
    again = {
        name: _ratio(*np.sum([image.again[name] for image in changed], axis=0).tolist())
        for name in ("noise", "noise_kind", "turn", "turn_kind")
        if changed
    }
    return figures | {
        "silent_prototypes": int((table["boxes"] == 0).sum()),
        "blank_boxes": blank_boxes,
        "mean_cosine": float(np.mean(cosines)) if cosines else math.nan,
        "excess_cosine": excess_cosine(network, tolerance),
        "tolerance": tolerance,
        "least_distance": min(least_distance(network).values()),
        "distinct_prototypes": distinct(network),
        "prototypes": len(table),
        "additivity_error": max((image.difference for image in images), default=math.nan),
        "removed_share": _ratio(total - sum(i.removed for i in changed), total),
        "removed_share_random": _ratio(total - sum(i.removed_elsewhere for i in changed), total),
        "noise_same": again.get("noise", math.nan),
        "noise_same_kind": again.get("noise_kind", math.nan),
        "turn_same": again.get("turn", math.nan),
        "turn_same_kind": again.get("turn_kind", math.nan),
    }


def per_prototype(model: Model, images: Sequence[ImageMeasures]) -> pd.DataFrame:
    """Say for every prototype how its boxes are, and which one is most like it.

    Returns
    -------
    pandas.DataFrame
        With the columns ``PER_PROTOTYPE``: number, kind and ``weight`` in the density;
        ``images`` that it has boxes in, and ``boxes``; their ``purity`` (NaN without boxes or
        dots) and whether it is ``mixed`` (most are impure); the greatest similarity of any
        place; the mean cosine similarity to the others of its group; and the number of the
        one of these that is nearest by cosine, with this and the L2 distance.
    """
    network = check_prototypes(model)
    boxes: dict[int, list[JudgedBox]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)
    for image in images:
        for number in {judged.box.prototype for judged in image.boxes}:
            seen[number] += 1
        for judged in image.boxes:
            boxes[judged.box.prototype].append(judged)
    vectors = network.prototypes.detach().cpu().double().numpy()
    weights = network.contribution_weights[0][0].tolist()
    cosines = group_cosines(network)
    kinds = network.prototype_kinds
    rows = []
    for number, kind in enumerate(kinds):
        group = [k for k, other in enumerate(kinds) if other == kind]
        own = cosines[kind][group.index(number)].copy()
        own[group.index(number)] = -math.inf
        nearest = group[int(own.argmax())] if len(group) > 1 else None
        pure = [judged.pure for judged in boxes[number] if judged.pure is not None]
        purity = float(np.mean(pure)) if pure else math.nan
        rows.append(
            {
                "prototype": number,
                "kind": kind,
                "weight": weights[number],
                "images": seen[number],
                "boxes": len(boxes[number]),
                "purity": purity,
                "mixed": purity < 0.5 if pure else None,
                "greatest_similarity": max(
                    (judged.box.similarity for judged in boxes[number]), default=math.nan
                ),
                "mean_cosine": float(own[np.isfinite(own)].mean()) if nearest is not None
                else math.nan,
                "nearest": nearest,
                "nearest_cosine": own.max() if nearest is not None else math.nan,
                "nearest_distance": math.nan if nearest is None
                else float(np.linalg.norm(vectors[number] - vectors[nearest])),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(PER_PROTOTYPE))


class Explaining:
    """Measures the explanations of one image after the other, then of all.

    Parameters
    ----------
    model
        One with prototypes.
    images, changed
        How many there will be, and how many of them, at even distances, are changed as well.
    device
        See ``iter_predict``.

    Raises
    ------
    UserError
        For a model without prototypes.
    """

    def __init__(self, model: Model, images: int, changed: int, device: str = "auto") -> None:
        check_prototypes(model)
        # Its own prototypes are judged, also in images changed so that its base would count them.
        self.model, self.device = replace(model, base=None), device
        self.rng = np.random.default_rng(2)  # the same places and noise for every model
        chosen = np.linspace(0, images - 1, min(images, changed)).round()
        self.change = [index in chosen for index in range(images)]

    def measure(
        self,
        name: str,
        pixels: NDArray[Any],
        prediction: Prediction,
        dots: NDArray[np.float64] | None,
        diameter_px: float,
    ) -> Generator[Progress, None, ImageMeasures]:
        """Measure the next image; see ``iter_measure``."""
        job = iter_measure(
            self.model, pixels, prediction, dots, diameter_px,
            change=self.change.pop(0), rng=self.rng, device=self.device,
        )  # fmt: skip
        return (yield from relay(job, lambda tile: Progress(0, 0, name)))

    def finish(
        self, images: Sequence[ImageMeasures], diameter_px: float | None
    ) -> Generator[Progress, None, tuple[dict[str, float], pd.DataFrame]]:
        """Return the figures of all images, and a row per prototype."""
        job = count_blank_boxes(self.model, diameter_px, self.device)
        blank = yield from relay(job, lambda tile: Progress(0, 0, "blank fields"))
        return explanation_figures(self.model, images, blank), per_prototype(self.model, images)


def _difference(found: Similarities, prediction: Prediction) -> float:
    density = prediction.density[0].astype(np.float64)
    summed = np.tensordot(found.weights.astype(np.float64), found.values, axes=1) + found.bias
    return _ratio(float(np.abs(summed - density).max()), float(np.abs(density).max()), empty=0.0)


def _greatest(model: Model) -> float:
    network = check_prototypes(model)
    device = network.prototypes.device
    return float(network.similarities(torch.zeros(1, 1, 1, 1, device=device)))


def _off_diagonal(square: NDArray[np.float64]) -> NDArray[np.float64]:
    return square[~np.eye(len(square), dtype=bool)]


def _ratio(part: float, whole: float, empty: float = math.nan) -> float:
    return float(part) / float(whole) if whole else empty

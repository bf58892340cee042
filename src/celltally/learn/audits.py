"""Audits: random regions of a user's own images, and the calibrated copy made from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally import intervals
from celltally.appearance import APPEARANCE
from celltally.density.regions import RegionSums, region_sums
from celltally.errors import UserError
from celltally.intervals.recalibrate import Audit
from celltally.io import find_images, read_image, select_pixels
from celltally.learn.audit_store import AuditStore
from celltally.learn.calibrate import seen_ranges
from celltally.model import Model
from celltally.predict import iter_predict
from celltally.record import ModelRecord, read_record
from celltally.types import Progress

__all__ = [
    "AuditField",
    "Candidate",
    "candidates_in",
    "check_copy",
    "copy_with_audits",
    "draw_region",
    "group_of",
    "in_random_order",
    "iter_field",
    "unanswered",
]

#: A region has a number of predicted cells between these, each size (as a ratio) as likely.
FEWEST, MOST = 10.0, 40.0
#: Cell diameters that a side of a region has at least and at most.
SHORTEST, LONGEST = 3.0, 30.0
#: Cell diameters, and share of a side, of the ring of context around it.
RING, RING_SHARE = 1.5, 0.15
#: Percentiles of the image between which it is shown.
DARK, BRIGHT = 0.2, 99.8
#: What the user's images are called among those that a model knows.
OWN = "audited"
#: How often the same image may be drawn.
MOST_DRAWS = 100
#: A well's name in a file's: a row A to P and a column 1 to 24, with nothing beside it.
WELL = re.compile(r"(?<![A-Za-z0-9])([A-P])0?([1-9]|1\d|2[0-4])(?![A-Za-z0-9])")


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that may be drawn.

    Attributes
    ----------
    name
        Its name, each once.
    group
        What it is independent of the others with.
    read
        Gives its pixels, ``(H, W)`` or ``(H, W, 3)``; may be called on any thread.
    path
        Its file, where it has one.
    """

    name: str
    group: str
    read: Callable[[], NDArray[Any]]
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class AuditField:
    """A region that is to be counted, with what the model found there.

    Attributes
    ----------
    audit
        All but the person's count, which is NaN.
    draw
        How many regions of this image were drawn before.
    diameter_px
        Cell diameter in image pixels that the model counted with.
    pixels
        The region with its ring of context, ``(h, w)`` or ``(h, w, 3)``.
    frame
        (top, left, bottom, right) edges of the region in ``pixels``; 0 is the outer edge.
    origin
        (y, x) in the image of the middle of the first of ``pixels``.
    limits
        Values between which it is to be shown.
    """

    audit: Audit
    draw: int
    diameter_px: float
    pixels: NDArray[Any]
    frame: tuple[int, int, int, int]
    origin: tuple[int, int]
    limits: tuple[float, float]

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from other regions."""
        return self.audit.image, self.draw


def group_of(name: str, units: str) -> str:
    """Independent group of an image: the well in its name, else the image itself."""
    if units == "wells" and (found := WELL.search(name)):
        return f"{found[1]}{int(found[2]):02d}"
    return name


def candidates_in(
    folder: Path, units: str = "images", channel: str | None = None
) -> list[Candidate]:
    """Images of a folder.

    Raises
    ------
    UserError
        When there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; choose one with images of your microscope")
    choice = int(channel) if channel is not None and channel.isdecimal() else channel
    return [
        Candidate(
            path.name,
            group_of(path.name, units),
            lambda path=path: select_pixels(read_image(path), channel=choice),  # type: ignore[misc]
            path,
        )
        for path in find_images([folder])
    ]


def in_random_order(candidates: Sequence[Candidate], seed: int) -> Iterator[tuple[Candidate, int]]:
    """Give images in a random order, each with how often it was given before.

    Every group comes before any comes again, so that 19 groups need no more than 19
    regions. The order of the images that are there depends on nothing but the seed, so
    that it stays when others are added.
    """
    groups: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: _chance(seed, "image", c.name)):
        groups.setdefault(candidate.group, []).append(candidate)
    order = sorted(groups, key=lambda group: _chance(seed, "group", group))
    for turn in range(MOST_DRAWS):
        for group in order:
            images = groups[group]
            yield images[turn % len(images)], turn // len(images)


def iter_field(
    model: Model,
    candidate: Candidate,
    draw: int,
    *,
    seed: int,
    diameter_px: float | None = None,
    device: str = "auto",
) -> Generator[Progress, None, AuditField]:
    """Count an image and draw a region in it.

    Raises
    ------
    UserError
        When the image cannot be read or counted, shows nothing, or has helped to make the
        model.
    """
    yield Progress(0, 0, "reading an image")
    if candidate.path is not None and _helped(model.record, candidate.path):
        raise UserError(f"{candidate.name} helped to make the model, so it cannot judge it")
    pixels = candidate.read()
    yield Progress(0, 0, "counting, for you not to see")
    prediction = yield from iter_predict(model, pixels, diameter_px=diameter_px, device=device)
    if not prediction.statistics:
        raise UserError(f"{candidate.name} shows nothing that could be cells")
    rng = np.random.default_rng([seed, _chance(seed, "image", candidate.name), draw])
    sums, shape = region_sums(prediction), prediction.image_shape
    top, left, bottom, right = draw_region(sums, shape, prediction.diameter_px, rng)
    corners = _corners(top, left, bottom, right)
    count, variance = np.maximum(sums.over(corners), 0.0)
    ring = int(max(RING * prediction.diameter_px, RING_SHARE * (bottom - top)))
    y, x = max(top - ring, 0), max(left - ring, 0)
    crop = np.array(pixels[y : bottom + ring, x : right + ring])
    sample = pixels[:: max(shape[0] // 1000, 1), :: max(shape[1] // 1000, 1)]
    dark, bright = (float(v) for v in np.percentile(sample[np.isfinite(sample)], (DARK, BRIGHT)))
    audit = Audit(
        image=candidate.name,
        group=candidate.group,
        predicted=float(count),
        variance=float(variance),
        counted=float("nan"),
        image_predicted=prediction.count,
        image_variance=float(prediction.variance.sum(dtype=np.float64)),
        statistics=dict(prediction.statistics),
        appearance=dict(prediction.appearance),
        whole=(top, left, bottom, right) == (0, 0, *shape),
        region=corners,
    )
    frame = (top - y, left - x, bottom - y, right - x)
    limits = (dark, bright if bright > dark else dark + 1)
    return AuditField(audit, draw, prediction.diameter_px, crop, frame, (y, x), limits)


def draw_region(
    sums: RegionSums, image_shape: tuple[int, int], diameter_px: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a square of whole pixels: its middle anywhere, its size by what is predicted there.

    It grows round its middle, along the image's sides where it meets them, until the
    predicted count is the one drawn, or it is ``LONGEST`` diameters wide.

    Returns
    -------
    tuple
        (top, left, bottom, right) edges in pixels; 0 is the image's outer edge.
    """
    target = float(np.exp(rng.uniform(np.log(FEWEST), np.log(MOST))))
    sides = np.asarray(image_shape)
    middle = rng.uniform(size=2) * sides
    short, long = max(int(SHORTEST * diameter_px), 8), max(int(LONGEST * diameter_px), 8)

    def box(side: int) -> tuple[int, int, int, int]:
        size = np.minimum(side, sides)
        low = np.clip(np.round(middle - side / 2).astype(int), 0, sides - size)
        return int(low[0]), int(low[1]), int(low[0] + size[0]), int(low[1] + size[1])

    low, high = short, max(short, min(long, int(sides.max())))
    while low < high:
        side = (low + high) // 2
        if float(sums.over(_corners(*box(side)))[0]) < target:
            low = side + 1
        else:
            high = side
    return box(low)


def check_copy(model: ModelRecord, out: Path) -> None:
    """Refuse a place for a copy that holds anything but an earlier copy of the same model.

    Raises
    ------
    UserError
        Names the place.
    """
    if not out.exists():
        return
    try:
        record = read_record(out)
        if record.sha256 == model.sha256 and "audits" in record.training and out != model.path:
            return
    except UserError:
        pass
    raise UserError(f"there is something else named {out.name!r} already; choose another name")


def copy_with_audits(model: Model, store: AuditStore, out: Path) -> Model:
    """Save a copy of a model with intervals from audits; the model stays as it is.

    Raises
    ------
    UserError
        Without audits, or when the place is taken or cannot be written.
    """
    check_copy(model.record, out)
    audits, session = store.audits, store.session
    calibration = intervals.recalibrate(
        model.calibration,
        audits,
        model=model.name,
        sha256=model.calibration_sha256,
        units=session.units,
        ranges=seen_ranges([audit.statistics for audit in audits]),
    )
    if calibration.appearances is not None:
        # Images of this microscope are no longer unlike those known.
        appearances = intervals.known_appearances(
            [audit.appearance for audit in audits],
            [f"{OWN}/{audit.group}" for audit in audits],
            APPEARANCE,
            calibration.appearances,
        )
        calibration = replace(calibration, appearances=appearances)
    known = calibration.audits
    assert known is not None
    told = {
        "calibrated from": f"{model.name} (calibration {model.calibration_sha256[:12] or 'none'})",
        "audits": f"{known.regions} regions in {known.groups} {session.units}, drawn with seed "
        f"{session.seed}; sha256 of the audits {store.sha256[:12]}",
    }
    record = replace(model.record, training={**model.record.training, **told})
    return replace(model, record=record).with_calibration(calibration).save(out)


def unanswered(
    candidates: Sequence[Candidate], store: AuditStore
) -> Iterable[tuple[Candidate, int]]:
    """Regions that are still to be counted, in the order of the session."""
    return (
        (candidate, draw)
        for candidate, draw in in_random_order(candidates, store.session.seed)
        if (candidate.name, draw) not in store.done and candidate.name not in store.unusable
    )


def _chance(seed: int, *words: str) -> int:
    """Give a number that is as good as random, the same for the same words."""
    text = "\0".join([str(seed), *words])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _corners(top: int, left: int, bottom: int, right: int) -> tuple[tuple[float, float], ...]:
    """Corners (y, x) in image pixels; the edge of the first pixel is −0.5."""
    y, x = (top - 0.5, bottom - 0.5), (left - 0.5, right - 0.5)
    return ((y[0], x[0]), (y[0], x[1]), (y[1], x[1]), (y[1], x[0]))


def _helped(record: ModelRecord, path: Path) -> bool:
    """Whether a file's image taught the model or chose its weights."""
    barred = {*record.taught_by, *record.chosen_by}
    try:
        return bool(barred) and (
            path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()[:16] in barred
        )
    except OSError:
        return False  # reading its pixels will say what is wrong

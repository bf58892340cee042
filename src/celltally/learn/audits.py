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
from celltally.density.random_region import corners_of, cut_out, draw_region
from celltally.density.regions import region_sums
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
        When the image cannot be read or counted, shows nothing, has helped to make the
        model, or is counted by its base, which keeps its own calibration.
    """
    yield Progress(0, 0, "reading an image")
    if candidate.path is not None and _helped(model.record, candidate.path):
        raise UserError(f"{candidate.name} helped to make the model, so it cannot judge it")
    pixels = candidate.read()
    yield Progress(0, 0, "counting, for you not to see")
    prediction = yield from iter_predict(model, pixels, diameter_px=diameter_px, device=device)
    if not prediction.statistics:
        raise UserError(f"{candidate.name} shows nothing that could be cells")
    if (counting := model.counting(prediction.appearance)) is not model:
        raise UserError(
            f"{candidate.name} is counted by {counting.name!r}, for it looks unlike the images "
            f"that {model.name!r} learned from, so it cannot judge that one"
        )
    rng = np.random.default_rng([seed, _chance(seed, "image", candidate.name), draw])
    sums, shape = region_sums(prediction), prediction.image_shape
    box = draw_region(sums, shape, prediction.diameter_px, rng)
    corners = corners_of(box)
    count, variance = np.maximum(sums.over(corners), 0.0)
    shown = cut_out(pixels, box, prediction.diameter_px)
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
        whole=box == (0, 0, *shape),
        region=corners,
    )
    return AuditField(
        audit, draw, prediction.diameter_px, shown.pixels, shown.frame, shown.origin, shown.limits
    )


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


def _helped(record: ModelRecord, path: Path) -> bool:
    """Whether a file's image taught the model or chose its weights."""
    barred = {*record.taught_by, *record.chosen_by}
    try:
        return bool(barred) and (
            path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()[:16] in barred
        )
    except OSError:
        return False  # reading its pixels will say what is wrong

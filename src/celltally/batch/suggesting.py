"""What to review next in a project: its planes are looked at one by one, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError, failure
from celltally.io import iter_project, planes_along, read_image, select_pixels
from celltally.progress import relay
from celltally.project.counts import StoredCount, in_force, latest_counts, load_prediction
from celltally.project.dataset import counted_channel
from celltally.project.images import ImageEntry, all_images
from celltally.project.store import Store
from celltally.project.study import is_missing
from celltally.project.work import load_dots, load_regions
from celltally.types import Dots, Image, Prediction, Progress, Region

if TYPE_CHECKING:
    from celltally.learn.suggest import Candidate, Why
    from celltally.model import Model

__all__ = ["Opened", "Seen", "Suggested", "Suggestion", "iter_suggest"]


#: Reads a plane (t, z) of an image that is open.
Opened = Callable[[int, int], Generator[Progress, None, NDArray[Any]]]


@dataclass(frozen=True)
class Suggestion:
    """A region of an image of the project that is worth a review.

    Attributes
    ----------
    entry
        The image.
    t, z
        Its plane.
    z_method
        How it was counted over z, as of a ``StoredCount``; ``plane`` where it was not.
    window
        ``(y0, x0, y1, x1)`` in image pixels.
    expected_error
        Of the count in it, in cells.
    why
        In a word or two.
    """

    entry: ImageEntry
    t: int
    z: int
    z_method: str
    window: tuple[float, float, float, float]
    expected_error: float
    why: Why


@dataclass(frozen=True)
class Suggested:
    """What is suggested.

    Attributes
    ----------
    suggestions
        The one from which the model would learn most first.
    missing
        Sentences on images that could not be looked at.
    """

    suggestions: tuple[Suggestion, ...]
    missing: tuple[str, ...] = ()


@dataclass
class Seen:
    """What was seen of planes before, so that only those are looked at again that changed.

    Attributes
    ----------
    planes
        By place in the project: what the candidates came from, and the candidates.
    """

    planes: dict[str, tuple[str, tuple[Candidate, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plane:
    """A plane of an image, and its count where it has one."""

    entry: ImageEntry
    t: int = 0
    z: int = 0
    count: StoredCount | None = None

    @property
    def name(self) -> str:
        return f"{self.entry.id} {self.t} {self.z}"

    @property
    def z_method(self) -> str:
        return "plane" if self.count is None else self.count.z_method


def iter_suggest(
    store: Store,
    model: Model,
    n: int,
    *,
    side_px: float | None = None,
    asked: Sequence[Suggestion] = (),
    seen: Seen | None = None,
    opened: Mapping[int, Opened] | None = None,
    device: str = "auto",
) -> Generator[Progress, None, Suggested]:
    """Suggest regions to review, over all images of a project.

    Looked at are the planes that were counted, and of an image that was not the first time
    point and the middle z. What this model counted is taken from the project, all else it counts
    now, and nothing of that is kept. One image is in memory at a time.

    Parameters
    ----------
    store
        The project; may be open for reading only.
    model
        The one that is to learn.
    n
        How many regions are asked for.
    side_px
        Side of a region in image pixels; None for one that fits the cells
        (``learn.candidates.side_of``).
    asked
        Regions that were suggested before, and are to be reviewed already.
    seen
        What was seen the last time; what is seen now is put into it.
    opened
        By their numbers images that came from no file but are open somewhere: what reads the
        plane (t, z) of each, as it is to be counted.
    device
        See ``predict.iter_predict``.

    Yields
    ------
    Progress
        ``done`` and ``total`` in images and planes.

    Raises
    ------
    UserError
        When the project has no image, or none can be looked at.
    """
    from celltally.learn.suggest import suggest, why

    yield Progress(0, 0, "reading the project")
    seen = Seen() if seen is None else seen
    planes = _planes(store)
    if not planes:
        raise UserError(f"{store.path.name} has no images; add some first")
    missing: dict[int, str] = {}
    found: list[Candidate] = []
    places: dict[str, _Plane] = {}
    for done, plane in enumerate(planes):
        entry, told = plane.entry, f"looking at {plane.entry.name}"
        yield Progress(done, len(planes), told)
        if entry.id in missing:
            continue
        try:
            plane, candidates = yield from relay(
                _look(store, plane, model, side_px, seen, (opened or {}).get(entry.id), device),
                partial(_telling, done, len(planes), told),
            )
        except Exception as error:  # of any reader; the other images can be looked at
            missing[entry.id] = failure(error, entry.path or Path(entry.name))
            continue
        places[plane.name] = plane
        found += candidates
    if not places:
        raise UserError(f"no image can be looked at: {next(iter(missing.values()))}")
    yield Progress(len(planes), len(planes), "comparing")
    before = _asked(asked, found)
    chosen = suggest(found, n, reviewed=before)
    return Suggested(
        tuple(
            Suggestion(
                entry=places[one.image].entry,
                t=places[one.image].t,
                z=places[one.image].z,
                z_method=places[one.image].z_method,
                window=one.window,
                expected_error=one.expected_error,
                why=why(one, found),
            )
            for one in chosen
        ),
        tuple(missing.values()),
    )


def _telling(done: int, total: int, told: str, _: Progress) -> Progress:
    return Progress(done, total, told)


def _planes(store: Store) -> list[_Plane]:
    counts: dict[int, list[StoredCount]] = {}
    for count in in_force(latest_counts(store)):
        counts.setdefault(count.image_id, []).append(count)
    return [
        plane
        for entry in all_images(store)
        for plane in [_Plane(entry, c.t, c.z, c) for c in counts.get(entry.id, ())]
        or [_Plane(entry)]
    ]


def _asked(asked: Sequence[Suggestion], found: Iterable[Candidate]) -> list[Candidate]:
    """Return the tiles that were suggested before; a region drawn otherwise is none."""
    names = {(f"{one.entry.id} {one.t} {one.z}", one.window) for one in asked}
    return [one for one in found if (one.image, one.window) in names]


def _look(
    store: Store,
    plane: _Plane,
    model: Model,
    side_px: float | None,
    seen: Seen,
    opened: Opened | None,
    device: str,
) -> Generator[Progress, None, tuple[_Plane, tuple[Candidate, ...]]]:
    """Look at a plane, unless it is as it was the last time; which one it is is told as well."""
    from celltally.learn.suggest import iter_candidates

    image = None
    if plane.count is None and opened is None:  # the file tells which z is the middle one
        image = _open(plane.entry)
        plane = replace(plane, z=planes_along(image, "z", None)[0])
    entry, count = plane.entry, plane.count
    every_z = plane.z_method == "projection"
    dots, regions = load_dots(store, entry.id), load_regions(store, entry.id)
    dots = dots[(dots.t == plane.t) & (every_z | (dots.z == plane.z)) & (dots.state != "removed")]
    regions = tuple(r for r in regions if r.t == plane.t and (every_z or r.z == plane.z))
    state = _state(model, count, side_px, dots, regions)
    if plane.name in seen.planes and seen.planes[plane.name][0] == state:
        return plane, seen.planes[plane.name][1]
    prediction = _known(store, count, model)
    if opened is not None:
        pixels = yield from opened(plane.t, plane.z)
    else:
        pixels = yield from _iter_pixels(plane, image or _open(entry))
    known = count is not None or len(dots)
    found = yield from iter_candidates(
        model,
        pixels,
        image=plane.name,
        prediction=prediction,
        dots=dots.yx if known else None,
        regions=regions,
        side_px=side_px,
        diameter_px=None if count is None else count.diameter_px,
        device=device,
    )
    seen.planes[plane.name] = (state, tuple(found))
    return plane, tuple(found)


def _known(store: Store, count: StoredCount | None, model: Model) -> Prediction | None:
    """Return what the model said of a plane, where the project keeps that."""
    if count is None or count.model_sha256 != model.sha256:
        return None
    kept = load_prediction(store, count)
    if kept is None:
        return None
    # The calibration may be another one by now: the maps are the same.
    counting = model.counting(kept[0].appearance)
    return replace(
        kept[0], calibration=counting.calibration, calibration_sha256=counting.calibration_sha256
    )


def _state(
    model: Model,
    count: StoredCount | None,
    side_px: float | None,
    dots: Dots,
    regions: Sequence[Region],
) -> str:
    """Digest of all that candidates come from."""
    digest = hashlib.sha256(
        repr(
            (
                model.sha256,
                model.calibration_sha256,
                side_px,
                None if count is None else (count.id, count.diameter_px),
                [(r.id, r.kind, r.stated) for r in regions],
            )
        ).encode()
    )
    for values in (dots.yx, *(r.polygon for r in regions)):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _open(entry: ImageEntry) -> Image:
    if entry.path is None:
        raise UserError(f"{entry.name} came from no file; save its layer as a file and add that")
    if is_missing(entry):
        raise UserError(
            f"{entry.path} is missing; put it back, or say where with 'celltally project find'"
        )
    return read_image(entry.path, scene=entry.scene)


def _iter_pixels(plane: _Plane, image: Image) -> Generator[Progress, None, NDArray[Any]]:
    """Read the pixels that were counted, or would be.

    Raises
    ------
    UserError
        When they cannot be read, or are not those that were looked at.
    """
    entry, at = plane.entry, {"t": plane.t, "z": plane.z}
    channel = counted_channel(image, "" if plane.count is None else plane.count.channel)
    if plane.z_method == "projection":
        depths = planes_along(image, "z", slice(None))
        pixels = yield from iter_project(image, channel=channel, t=plane.t, z=depths)
    else:
        pixels = select_pixels(image, channel=channel, plane=at)
    if entry.shape is not None and pixels.shape[:2] != entry.shape:
        now, then = (" × ".join(map(str, shape)) for shape in (pixels.shape[:2], entry.shape))
        raise UserError(
            f"{entry.path} has {now} pixels, and had {then} when it was added; add it again, as "
            "another image"
        )
    return pixels

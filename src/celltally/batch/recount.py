"""Every image of a study is counted with another model, and nothing of it is in force yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celltally.batch.one_plane import iter_count_plane
from celltally.errors import UserError, failure
from celltally.io import planes_along, read_image
from celltally.progress import relay
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.dataset import counted_channel
from celltally.project.differences import Difference, compare, not_recounted
from celltally.project.figures import level_of
from celltally.project.images import ImageEntry, all_images
from celltally.project.new_counts import NewCount
from celltally.project.recounts import Recount, Version, wanted_of
from celltally.project.store import Store
from celltally.project.study import is_missing
from celltally.project.study_lock import locked
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["Recounted", "iter_recount", "version_of"]


@dataclass(frozen=True)
class Recounted(Progress):
    """The step after which an image is recounted, or could not be.

    Attributes
    ----------
    differences
        One for each of its planes.
    """

    differences: tuple[Difference, ...] = ()


def version_of(model: Model) -> Version:
    """Return a model as counts name it."""
    own, *bases = (one.calibration_sha256 for one in model.with_bases)
    return Version(model.name, model.sha256, own, tuple(bases))


def iter_recount(
    store: Store, model: Model, recount: Recount, *, device: str = "auto"
) -> Generator[Progress, None, list[Difference]]:
    """Count all images of a study again that were counted, with another model, and compare.

    The project stays as it is; ``new_version.iter_use_recount`` puts the counts in force. Each
    plane is counted as the count in force was made: the same channel, way over z and cell
    diameter, or that of the study's lock. Images that were recounted so before are not counted
    once more. One image is in memory at a time.

    Parameters
    ----------
    store
        The project; it may be open for reading only.
    model
        What counts.
    recount
        Keeps what is counted; of this model.
    device
        As ``predict.iter_predict`` takes it.

    Yields
    ------
    Progress
        ``done`` and ``total`` in images; a ``Recounted`` after each image.

    Returns
    -------
    list of Difference
        In the order in which the images came.

    Raises
    ------
    UserError
        When no image was counted yet, or what is counted cannot be kept.
    """
    if recount.by != version_of(model):
        raise UserError(f"this is a recount by {recount.by.text}; begin one for {model.name!r}")
    held, level = locked(store), level_of(store)
    counts: dict[int, list[StoredCount]] = {}
    for count in in_force(latest_counts(store)):
        counts.setdefault(count.image_id, []).append(count)
    entries = [entry for entry in all_images(store) if entry.id in counts]
    if not entries:
        raise UserError(f"nothing in {store.path.name} was counted yet: count the images first")
    threshold = None if held is None else held.threshold

    def load(kept: StoredCount) -> NewCount:
        return recount.load(kept, threshold=threshold, level=level)

    found: list[Difference] = []
    for done, entry in enumerate(entries):
        before = counts[entry.id]
        wanted = wanted_of(before, held)
        known = all(recount.by.made(count) for count in before)
        problem = ""
        if not known and not recount.knows(entry, wanted):
            job = _iter_count(model, entry, wanted, recount, level, device)
            try:
                yield from relay(job, _telling(done, len(entries), entry.name))
            except _NotKeptError as error:
                raise error.error from error
            except Exception as error:
                problem = failure(error, entry.path or Path(entry.name))
        if problem:
            rows = not_recounted(store, entry, before, problem, level)
        else:
            after = None if known else recount.stored(entry.id)
            rows = compare(store, entry, before, after, load, level)
        found += rows
        yield Recounted(done + 1, len(entries), entry.name, differences=tuple(rows))
    return found


class _NotKeptError(Exception):
    """What is counted cannot be kept: that concerns every image."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error


def _iter_count(
    model: Model,
    entry: ImageEntry,
    wanted: Sequence[dict[str, Any]],
    recount: Recount,
    level: float,
    device: str,
) -> Generator[Progress, None, None]:
    """Count the planes of an image as they are wanted; each is kept as it is counted."""
    if entry.path is None:
        raise UserError(f"{entry.name} came from no file; open it in napari and count it there")
    if is_missing(entry):
        raise UserError(
            f"{entry.path} is missing; put it back, or say where with 'celltally project find'"
        )
    image = read_image(entry.path, scene=entry.scene)
    sizes = image.sizes
    if entry.shape is not None and (sizes["Y"], sizes["X"]) != entry.shape:
        now, then = f"{sizes['Y']} × {sizes['X']}", " × ".join(map(str, entry.shape))
        raise UserError(
            f"{entry.path} has {now} pixels, and {then} when it was counted; add it again, as "
            "another image"
        )
    _keep(lambda: recount.begin(entry))
    for i, one in enumerate(wanted):
        every = planes_along(image, "z", slice(None)) if one["z_method"] == "projection" else None
        job = iter_count_plane(
            model,
            image,
            name=entry.name,
            channel=counted_channel(image, one["channel"]),
            t=one["t"],
            z=one["z"],
            projected=every,
            diameter_px=one["diameter_px"],
            device=device,
        )
        words = f"plane {i + 1} of {len(wanted)}" if len(wanted) > 1 else ""
        prediction, candidates = yield from relay(job, _part(words))
        count = NewCount.of(
            prediction,
            candidates,
            level=level,
            t=one["t"],
            z=one["z"],
            z_method=one["z_method"],
            channel=one["channel"],
            merged=tuple(one["merged"]),
        )
        _keep(partial(recount.add, entry.id, count))
    _keep(lambda: recount.finish(entry.id, wanted))


def _keep(write: Callable[[], None]) -> None:
    try:
        write()
    except UserError as error:
        raise _NotKeptError(error) from error


def _telling(done: int, total: int, name: str) -> Callable[[Progress], Progress]:
    def tell(step: Progress) -> Progress:
        words = ", ".join(part for part in (name, step.message) if part)
        return Progress(done, total, words, step.values)

    return tell


def _part(words: str) -> Callable[[Progress], Progress]:
    def tell(step: Progress) -> Progress:
        return Progress(step.done, step.total, words or step.message, step.values)

    return tell

"""Counting the images of a project: what is found is proposed, and a person's work stays."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celltally.batch.diameter import iter_common_diameter
from celltally.batch.one_plane import iter_count_plane
from celltally.batch.settings import Settings
from celltally.errors import UserError, failure
from celltally.io import guess_channel, iter_project, planes_along, read_image, select_pixels
from celltally.progress import relay
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.images import ImageEntry, all_images
from celltally.project.new_counts import NewCount, keep_counts, proposed
from celltally.project.propose import Proposal
from celltally.project.store import Store
from celltally.project.study import is_missing
from celltally.project.work import load_work
from celltally.types import Image, Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["ProjectCounted", "iter_count_project"]


@dataclass(frozen=True)
class ProjectCounted(Progress):
    """The step after which an image is counted, or could not be.

    Attributes
    ----------
    entry
        The image; None for other steps.
    proposals
        What changed, one for each time point.
    problem
        Why it could not be counted, in a sentence; "" where it was.
    """

    entry: ImageEntry | None = None
    proposals: tuple[Proposal, ...] = ()
    problem: str = ""


def iter_count_project(
    store: Store,
    model: Model,
    settings: Settings,
    *,
    threshold: float | None = None,
    again: bool = False,
    image_ids: Iterable[int] | None = None,
) -> Generator[Progress, None, tuple[int, int]]:
    """Count those images of a project that were not counted, or were counted otherwise.

    An image is left out when all that was asked for was counted with this model and
    calibration, and with the diameter and threshold where these are given. Each image is kept
    as it is counted: its prediction, and its dots as proposals (``project.propose``).

    Parameters
    ----------
    store
        The project, open for writing.
    model
        What counts.
    settings
        How; a merge distance or gap of its own cannot be kept.
    threshold
        Least score of a dot; None for the one that makes dots ≈ count, image by image.
    again
        Count all images, whatever they were counted with.
    image_ids
        Of these images; None for all.

    Yields
    ------
    Progress
        ``done`` and ``total`` in images; a ``ProjectCounted`` after each image.

    Returns
    -------
    tuple of int
        Number of images that were counted, and of those that could not be.

    Raises
    ------
    UserError
        When the settings cannot be used, or the project cannot be written.
    """
    if problem := settings.problem():
        raise UserError(problem)
    wanted = None if image_ids is None else set(image_ids)
    entries = [e for e in all_images(store) if wanted is None or e.id in wanted]
    known: dict[int, list[StoredCount]] = {}
    if not again:
        for count in in_force(latest_counts(store)):
            if _is_same(count, model, settings, threshold):
                known.setdefault(count.image_id, []).append(count)
    # Which planes a file has is known once it is opened; without a choice one count will do.
    todo = [
        e for e in entries if settings.plane or settings.z_stack != "plane" or not known.get(e.id)
    ]
    counted = failed = 0
    for done, entry in enumerate(todo):
        job = _Counting(store, model, settings, threshold, entry, known.get(entry.id, ()))
        proposals: tuple[Proposal, ...] = ()
        problem = ""
        try:
            proposals = yield from relay(job.run(), _telling(done, len(todo), entry.name))
        except _ProjectError as error:
            raise error.error from error
        except Exception as error:
            problem = failure(error, entry.path or Path(entry.name))
        counted += bool(proposals)
        failed += bool(problem)
        yield ProjectCounted(
            done + 1, len(todo), entry.name, entry=entry, proposals=proposals, problem=problem
        )
    return counted, failed


class _ProjectError(Exception):
    """The project cannot be written: that concerns every image, and ends the batch."""

    def __init__(self, error: UserError) -> None:
        super().__init__(str(error))
        self.error = error


def _telling(done: int, total: int, name: str) -> Callable[[Progress], Progress]:
    def tell(step: Progress) -> Progress:
        words = ", ".join(part for part in (name, step.message) if part)
        return Progress(done, total, words, step.values)

    return tell


def _is_same(count: StoredCount, model: Model, settings: Settings, threshold: float | None) -> bool:
    """Whether an image need not be counted again."""
    if not model.made(count.model_sha256, count.calibration_sha256):
        return False
    if count.z_method != settings.z_stack:
        return False
    size = settings.diameter_px
    if size is not None and not np.isclose(count.diameter_px, size, rtol=1e-3):
        return False
    return threshold is None or bool(np.isclose(count.threshold, threshold))


class _Counting:
    """Counts one image of a project."""

    def __init__(
        self,
        store: Store,
        model: Model,
        settings: Settings,
        threshold: float | None,
        entry: ImageEntry,
        known: Sequence[StoredCount],
    ) -> None:
        self._store, self._model, self._settings = store, model, settings
        self._threshold, self._entry, self._known = threshold, entry, known
        self._diameter = settings.diameter_px

    def run(self) -> Generator[Progress, None, tuple[Proposal, ...]]:
        """Count every time point that is asked for and not known; empty where all are."""
        entry, settings = self._entry, self._settings
        if entry.path is None:
            raise UserError(f"{entry.name} came from no file; open it in napari and count it there")
        if is_missing(entry):
            raise UserError(
                f"{entry.path} is missing; put it back, or say where with 'celltally project find'"
            )
        image = read_image(entry.path, scene=entry.scene)
        times = planes_along(image, "t", settings.along("T"))
        planes = planes_along(image, "z", settings.along("Z"))
        left = [t for t in times if not self._is_known(t, planes)]
        if not left:
            return ()
        yield from self._find_diameter(image, left, planes)
        made = []
        for t in left:
            told = f"t {t}" if len(times) > 1 else ""
            made.append((yield from relay(self._count(image, t, planes), _words(told))))
        return tuple(made)

    def _is_known(self, t: int, planes: Sequence[int]) -> bool:
        there = {count.z for count in self._known if count.t == t}
        if self._settings.z_stack == "projection":
            return bool(there)
        # Merged planes are one count, which others beside them would make another one.
        return set(planes) == there if self._settings.z_stack == "merged" else set(planes) <= there

    def _find_diameter(
        self, image: Image, times: Sequence[int], planes: Sequence[int]
    ) -> Generator[Progress, None, None]:
        """Estimate one diameter for all that is compared or merged."""
        channel = self._settings.channel
        needed, found = yield from iter_common_diameter(
            self._settings,
            times,
            planes,
            lambda t, z: self._plane(image, t, z),
            lambda t: iter_project(image, channel=channel, t=t, z=planes),
        )
        if needed:
            self._diameter = found or self._model.diameter_px

    def _plane(self, image: Image, t: int, z: int) -> NDArray[Any]:
        return select_pixels(image, channel=self._settings.channel, plane={"t": t, "z": z})

    def _count(
        self, image: Image, t: int, planes: Sequence[int]
    ) -> Generator[Progress, None, Proposal]:
        """Count a time point, keep it and propose its dots."""
        settings = self._settings
        how = settings.z_stack
        places = planes if how == "merged" else planes[:1]
        counts = []
        for z in places:
            prediction, found = yield from iter_count_plane(
                self._model,
                image,
                name=self._entry.name,
                channel=settings.channel,
                t=t,
                z=z,
                projected=planes if how == "projection" else None,
                diameter_px=self._diameter,
                device=settings.device,
            )
            counts.append(
                NewCount.of(
                    prediction,
                    found,
                    threshold=self._threshold,
                    level=settings.level,
                    t=t,
                    z=0 if how == "projection" else z,
                    z_method=how,
                    channel=_channel_text(image, settings.channel),
                    merged=tuple(places) if how == "merged" else (),
                )
            )
        try:
            return self._keep(t, counts)
        except UserError as error:
            raise _ProjectError(error) from error

    def _keep(self, t: int, counts: Sequence[NewCount]) -> Proposal:
        store, entry = self._store, self._entry
        work = load_work(store, entry.id)
        proposal = proposed(work, counts, otherwise=self._was_counted_otherwise(t))
        keep_counts(store, entry.id, counts, proposal)
        return proposal

    def _was_counted_otherwise(self, t: int) -> bool:
        """Whether a projection or merged planes were counted last, and are not now."""
        counts = in_force(latest_counts(self._store, [self._entry.id]))
        return any(c.t == t and c.z_method not in ("plane", self._settings.z_stack) for c in counts)


def _channel_text(image: Image, channel: int | str | None) -> str:
    """Return in words what was counted; "" where there is no choice."""
    chosen = guess_channel(image) if channel is None else channel
    return "" if chosen is None or chosen == "colour" else str(chosen)


def _words(told: str) -> Callable[[Progress], Progress]:
    def tell(step: Progress) -> Progress:
        words = ", ".join(part for part in (told, step.message) if part)
        values: Mapping[str, float] = {"part": float(step.done), "parts": float(step.total)}
        return Progress(step.done, step.total, words, values)

    return tell

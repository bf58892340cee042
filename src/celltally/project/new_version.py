"""A new version takes a model's place in a study: its counts come into force, all or none."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from celltally.errors import UserError
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.edits import Edit
from celltally.project.figures import level_of
from celltally.project.images import all_images
from celltally.project.new_counts import NewCount, keep_counts, proposed
from celltally.project.recounts import Recount, wanted_of
from celltally.project.store import Store
from celltally.project.study_lock import lock, locked
from celltally.project.work import load_work, record
from celltally.types import Progress

__all__ = ["Used", "iter_use_recount"]

#: Names of images that are listed in a sentence.
_LISTED = 3


@dataclass(frozen=True)
class Used:
    """What came into force.

    Attributes
    ----------
    version
        The model, in words.
    images
        Number of images whose counts are others now.
    left
        Number of images that were counted and keep their counts, for they were not recounted.
    moved
        Whether a lock was moved to the new model.
    """

    version: str
    images: int
    left: int
    moved: bool

    @property
    def text(self) -> str:
        """In a sentence or two."""
        said = f"{self.version} is in use: {_images(self.images)} recounted."
        if self.left:
            are = "keeps its count" if self.left == 1 else "keep their counts"
            said += f" {_images(self.left)} could not be recounted and {are}"
            said += ", marked." if self.moved else "."
        if self.moved:
            said += " The study is locked to it."
        return said


def iter_use_recount(
    store: Store, recount: Recount, *, author: str | None = None
) -> Generator[Progress, None, Used]:
    """Put what was recounted in force, and move the study's lock to the model that did so.

    It is one transaction: cut off or cancelled in the middle, nothing of it was done. What a
    person did stays (``project.propose``), earlier counts stay in the project, and the log
    tells of each image and of the whole. In the end the file of the recount is gone.

    Parameters
    ----------
    store
        The project, open for writing; nothing else can be written meanwhile.
    recount
        What was recounted; images that were not are left as they are.
    author
        Who decided; without, the store's.

    Yields
    ------
    Progress
        After every image.

    Raises
    ------
    UserError
        When nothing was recounted, images were counted otherwise since, or the project cannot
        be written.
    """
    held, by, level = locked(store), recount.by, level_of(store)
    entries = {entry.id: entry for entry in all_images(store)}
    counts: dict[int, list[StoredCount]] = {}
    for count in in_force(latest_counts(store)):
        counts.setdefault(count.image_id, []).append(count)
    known = {n for n, of_image in counts.items() if all(by.made(c) for c in of_image)}
    todo = [n for n in recount.image_ids() if n in counts and n not in known]
    if not todo and not known:
        raise UserError(f"nothing was recounted with {by.text}: recount the study first")
    old = [n for n in todo if not recount.knows(entries[n], wanted_of(counts[n], held))]
    if old:
        names = ", ".join(entries[n].name for n in old[:_LISTED])
        more = f" and {len(old) - _LISTED} more" if len(old) > _LISTED else ""
        raise UserError(
            f"{names}{more} changed or was counted otherwise since it was recounted; recount once "
            "more, which takes only what changed"
        )
    threshold = None if held is None else held.threshold
    yield Progress(0, len(todo), "putting the counts in force")
    with store.write():
        for done, number in enumerate(todo, start=1):
            work = load_work(store, number)
            at_once: dict[int, list[NewCount]] = {}
            for stored in recount.stored(number):
                # A film's planes one after the other, stacks that are merged together.
                new = recount.load(stored, threshold=threshold, level=level)
                if new.z_method == "merged":
                    at_once.setdefault(new.t, []).append(new)
                else:
                    keep_counts(store, number, [new], proposed(work, [new]), action="recount")
            for alike in at_once.values():
                keep_counts(store, number, alike, proposed(work, alike), action="recount")
            yield Progress(done, len(todo), f"putting {entries[number].name} in force")
        moved = held is not None and not held.holds(by.sha256, by.calibration_sha256)
        before = sorted({f"{c.model} ({c.model_sha256[:8]})" for n in todo for c in counts[n]})
        detail = {
            "model": by.name,
            "model_sha256": by.sha256,
            "calibration_sha256": by.calibration_sha256,
            "before": before,
            "images": len(todo),
        }
        step = Edit("use new version", (), "system")
        record(store, None, step, author=author, detail=detail)
        if held is not None and moved:
            calibration = by.calibration_sha256 if held.calibration_sha256 else ""
            new_lock = replace(
                held,
                model=by.name,
                model_sha256=by.sha256,
                calibration_sha256=calibration,
                calibrations=(calibration, *by.base_calibrations) if by.base_calibrations else (),
            )
            lock(store, new_lock, author=author)
    recount.drop()
    left = len(counts.keys() - set(todo) - known)
    return Used(by.text, len(todo), left, moved)


def _images(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"

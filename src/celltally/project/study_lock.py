"""What every image of a study is to be counted with.

A study may be *locked*: from then on model, diameter and threshold are the same for every
image, and a row that was counted otherwise says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from celltally.errors import UserError
from celltally.intervals import check_level
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.edits import Edit
from celltally.project.figures import LEVEL, level_of
from celltally.project.lineage import known_calibrations
from celltally.project.store import Store, now, set_in
from celltally.project.work import record

__all__ = ["Lock", "lock", "locked", "otherwise", "suggested_lock", "unlock"]

#: Diameters and thresholds that differ by less are the same: what is typed is rounded.
_SAME = 1e-3


@dataclass(frozen=True)
class Lock:
    """What every image of a study is to be counted with.

    Attributes
    ----------
    model, model_sha256
        The model.
    calibration_sha256
        Its calibration; "" where any will do.
    diameter_px
        Cell diameter in pixels; None where it may differ by image.
    threshold
        Least score of a dot; None for *as counted*: the one that makes dots ≈ count, image by
        image.
    level
        Nominal coverage of the intervals, in (0, 1).
    by, at
        Who locked the study, and when (ISO 8601, UTC); filled in by ``lock``.
    calibrations
        Where the model has bases, which count images unlike those that it learned from: its
        calibration and theirs; filled in by ``lock``.
    """

    model: str
    model_sha256: str
    calibration_sha256: str = ""
    diameter_px: float | None = None
    threshold: float | None = None
    level: float = LEVEL
    by: str = ""
    at: str = ""
    calibrations: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The model in words: ``general (ab12cd34)``."""
        return f"{self.model} ({self.model_sha256[:8]})"

    def holds(self, model_sha256: str, calibration_sha256: str = "") -> bool:
        """Whether a model, or the model of a count, is the one that it is locked to.

        With its calibration, or that of a base of it.
        """
        known = ("", calibration_sha256)
        calibrated = self.calibration_sha256 in known or calibration_sha256 in self.calibrations
        return model_sha256 == self.model_sha256 and calibrated

    @property
    def text(self) -> str:
        """In words, such as ``general (ab12cd34), diameter 14 px, threshold as counted``."""
        diameter = "any" if self.diameter_px is None else f"{self.diameter_px:.4g} px"
        threshold = "as counted" if self.threshold is None else f"{self.threshold:.3g}"
        return (
            f"{self.version}, diameter {diameter}, threshold {threshold}, "
            f"intervals of {100 * self.level:.10g} %"
        )


def locked(store: Store) -> Lock | None:
    """Return what a study is locked to; None where it is not."""
    kept = store.setting("lock")
    if kept is None:
        return None
    return Lock(**kept | {"calibrations": tuple(kept.get("calibrations", ()))})


def lock(store: Store, wanted: Lock, *, author: str | None = None) -> Lock:
    """Lock a study; an earlier lock is replaced. The log keeps who did it.

    Returns
    -------
    Lock
        With who and when.

    Raises
    ------
    UserError
        When a number cannot be used, or the project cannot be written.
    """
    if problem := check_level(wanted.level):
        raise UserError(problem)
    if wanted.diameter_px is not None and not 1 <= wanted.diameter_px < math.inf:
        raise UserError(
            f"a study cannot be locked to a diameter of {wanted.diameter_px:g} px: "
            "give a number of pixels from 1 on"
        )
    if wanted.threshold is not None and not math.isfinite(wanted.threshold):
        raise UserError(
            f"a study cannot be locked to a threshold of {wanted.threshold}: give a number"
        )
    if not wanted.model_sha256:
        raise UserError("a study is locked to a model: count an image first, or name a model")
    made = replace(
        wanted,
        by=store.author if author is None else author,
        at=now(),
        calibrations=wanted.calibrations
        or known_calibrations(store, wanted.model_sha256, wanted.calibration_sha256),
    )
    _keep(store, asdict(made), "lock study", made, author)
    return made


def unlock(store: Store, *, author: str | None = None) -> None:
    """Take a study's lock off; the log keeps who did it."""
    before = locked(store)
    if before is not None:
        _keep(store, None, "unlock study", before, author)


def _keep(
    store: Store, value: Mapping[str, Any] | None, action: str, about: Lock, author: str | None
) -> None:
    with store.write() as connection:
        set_in(connection, "lock", value)
        if value is not None:
            set_in(connection, "level", about.level)
        record(store, None, Edit(action, (), "system"), author=author, detail=asdict(about))


def suggested_lock(store: Store, counts: Sequence[StoredCount] | None = None) -> Lock | None:
    """Return what most images were counted with; None where none was.

    The diameter is theirs where all that were counted with this model agree, else None; the
    threshold likewise, where it was moved everywhere to the same.
    """
    counts = in_force(latest_counts(store) if counts is None else counts)
    if not counts:
        return None
    # Images are what is asked for, not their time points and planes.
    by = {(c.image_id, c.model, c.model_sha256, c.calibration_sha256): None for c in counts}
    often = Counter(identity[1:] for identity in by)
    (model, sha256, calibration), _ = often.most_common(1)[0]
    alike = [c for c in counts if (c.model, c.model_sha256) == (model, sha256)]
    first = alike[0]
    one_size = all(_same(c.diameter_px, first.diameter_px) for c in alike)
    one_threshold = all(_same(c.threshold, first.threshold) for c in alike) and all(
        not _same(c.threshold, c.default_threshold) for c in alike
    )
    return Lock(
        model=model,
        model_sha256=sha256,
        calibration_sha256=calibration,
        diameter_px=first.diameter_px if one_size else None,
        threshold=first.threshold if one_threshold else None,
        level=level_of(store),
    )


def otherwise(counted: StoredCount, held: Lock) -> list[str]:
    """Say in what a count differs from what the study is locked to."""
    said = []
    if counted.model_sha256 != held.model_sha256:
        named = counted.model
        if named == held.model:
            named += f", {counted.model_sha256[:8]}"
        said.append(f"counted with another model ({named})")
    elif not held.holds(counted.model_sha256, counted.calibration_sha256):
        said.append("counted with another calibration")
    if held.diameter_px is not None and not _same(counted.diameter_px, held.diameter_px):
        said.append(f"other diameter ({counted.diameter_px:.4g} px)")
    wanted = counted.default_threshold if held.threshold is None else held.threshold
    if not _same(counted.threshold, wanted):
        said.append(f"threshold moved ({counted.threshold:.3g})")
    return said


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-9)

"""Counts of a study by another model that are not in force: in a file of their own beside it.

As long as nobody decided for them they stay out of the project, so that whoever is cut off in
the middle finds the project as it was. What was counted by then stays in the file: a recount
with the same model goes on there. A project in a folder that cannot be written to gets it in
a temporary folder, for as long as it is open.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.counts import StoredCount, latest_counts, load_prediction
from celltally.project.images import ImageEntry
from celltally.project.new_counts import NewCount
from celltally.project.store import ProjectInUseError, Store, now
from celltally.project.study_lock import Lock

__all__ = ["RECOUNT", "Recount", "Version", "drop_recount", "wanted_of"]

#: What the file's name has behind the project's.
RECOUNT = ".recount"
_BY = "recount"
#: Stands at an image of which not all planes are counted yet.
_UNFINISHED = "{}"


@dataclass(frozen=True)
class Version:
    """A model, as counts name it.

    Attributes
    ----------
    name, sha256, calibration_sha256
        Its name, identity and calibration ("" without one).
    base_calibrations
        Those of its bases, which count images unlike those that it learned from.
    """

    name: str
    sha256: str
    calibration_sha256: str = ""
    base_calibrations: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In words: ``general (ab12cd34)``."""
        return f"{self.name} ({self.sha256[:8]})"

    def made(self, count: StoredCount) -> bool:
        """Whether a count is its."""
        calibrations = (self.calibration_sha256, *self.base_calibrations)
        return count.model_sha256 == self.sha256 and count.calibration_sha256 in calibrations


def wanted_of(counts: Sequence[StoredCount], held: Lock | None) -> list[dict[str, Any]]:
    """Return how an image is to be counted again: as it was, with the diameter of the lock.

    Parameters
    ----------
    counts
        Those of the image that are in force.
    held
        What the study is locked to.
    """
    size = None if held is None else held.diameter_px
    return [
        {
            "t": count.t,
            "z": count.z,
            "z_method": count.z_method,
            "channel": count.channel,
            "diameter_px": count.diameter_px if size is None else size,
            "merged": list(count.merged),
        }
        for count in counts
    ]


class Recount:
    """The counts of a study by another model, for as long as they are not in force.

    Parameters
    ----------
    store
        The project; it is only read here.
    by
        The model. What another model recounted is dropped.

    Raises
    ------
    UserError
        When another program recounts the study, or nothing can be written.
    """

    def __init__(self, store: Store, by: Version) -> None:
        self.by = by
        self._folder: Path | None = None
        folder = store.path.parent
        if not os.access(folder, os.W_OK):
            self._folder = folder = Path(tempfile.mkdtemp(prefix="celltally-"))
        path = folder / f"{store.path.name}{RECOUNT}"
        try:
            self._store = Store(path, author=store.author)
        except ProjectInUseError:
            raise UserError(
                f"{store.path.name} is being recounted in another program; wait until that is done"
            ) from None
        except UserError:
            _remove(path)  # cut off while it was made, or damaged: it is made anew
            self._store = Store(path, author=store.author)
        about = [by.name, by.sha256, by.calibration_sha256]
        if self._store.setting(_BY) != about:
            self._empty()
            self._store.set_setting(_BY, about)

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    @property
    def stays(self) -> bool:
        """Whether the file stays when this is closed, so that one can go on later."""
        return self._folder is None

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def drop(self) -> None:
        """Let go of the file, and take it away: nothing of it is wanted."""
        self.close()
        _remove(self.path)

    def _empty(self) -> None:
        with self._store.write() as connection:
            for table in (schema.maps, schema.predictions, schema.images):
                connection.execute(table.delete())

    # ---- images ----

    def image_ids(self) -> list[int]:
        """Numbers of the images that were recounted, each with all of its planes."""
        with self._store.read() as connection:
            images = schema.images.c
            query = sa.select(images.id).where(images.further != _UNFINISHED).order_by(images.id)
            return list(connection.execute(query).scalars())

    def knows(self, entry: ImageEntry, wanted: Sequence[dict[str, Any]]) -> bool:
        """Whether an image was recounted, of the same file and in the way that is wanted."""
        columns = schema.images.c
        query = sa.select(columns.path, columns.size_bytes, columns.changed_ns, columns.further)
        with self._store.read() as connection:
            row = connection.execute(query.where(columns.id == entry.id)).first()
        if row is None:
            return False
        there = (row.path, row.size_bytes, row.changed_ns)
        return there == _file(entry) and json.loads(row.further) == {"wanted": list(wanted)}

    def begin(self, entry: ImageEntry) -> None:
        """Begin an image anew: what was counted of it before goes.

        Raises
        ------
        UserError
            When it cannot be written.
        """
        path, size, changed = _file(entry)
        maps, counts, images = schema.maps.c, schema.predictions.c, schema.images
        old = sa.select(counts.id).where(counts.image_id == entry.id)
        with self._store.write() as connection:
            connection.execute(schema.maps.delete().where(maps.prediction_id.in_(old)))
            connection.execute(schema.predictions.delete().where(counts.image_id == entry.id))
            connection.execute(images.delete().where(images.c.id == entry.id))
            connection.execute(
                images.insert().values(
                    id=entry.id,
                    name=entry.name,
                    path=path,
                    scene=entry.scene,
                    size_bytes=size,
                    changed_ns=changed,
                    further=_UNFINISHED,
                    added=now(),
                )
            )

    def add(self, image_id: int, count: NewCount) -> None:
        """Keep what was counted of a plane of an image that was begun.

        Raises
        ------
        UserError
            When it cannot be written.
        """
        count.add(self._store, image_id)

    def finish(self, image_id: int, wanted: Sequence[dict[str, Any]]) -> None:
        """Know that all planes of an image are counted, in the way that was wanted."""
        row = schema.images.update().where(schema.images.c.id == image_id)
        with self._store.write() as connection:
            connection.execute(row.values(further=json.dumps({"wanted": list(wanted)})))

    def stored(self, image_id: int) -> list[StoredCount]:
        """Return what was counted of an image, by t and z, without maps."""
        return latest_counts(self._store, [image_id])

    def load(self, count: StoredCount, *, threshold: float | None, level: float) -> NewCount:
        """Return one of them with its maps.

        Parameters
        ----------
        threshold
            Least score of a dot; None for the one that makes dots ≈ count.
        level
            Nominal coverage of its interval.
        """
        loaded = load_prediction(self._store, count)
        if loaded is None:
            raise UserError(f"{self.path} is damaged (a count has no maps); recount the study")
        prediction, candidates = loaded
        return NewCount.of(
            prediction,
            candidates,
            threshold=threshold,
            level=level,
            t=count.t,
            z=count.z,
            z_method=count.z_method,
            channel=count.channel,
            merged=count.merged,
        )


def drop_recount(store: Store) -> bool:
    """Take away what was recounted of a study and is not in force; whether there was any."""
    path = store.path.with_name(f"{store.path.name}{RECOUNT}")
    if not path.exists():
        return False
    try:
        Store(path).close()  # another program may be at it
    except ProjectInUseError:
        raise UserError(
            f"{store.path.name} is being recounted in another program; wait until that is done"
        ) from None
    except UserError:
        pass  # damaged
    _remove(path)
    return True


def _file(entry: ImageEntry) -> tuple[str | None, int | None, int | None]:
    """Place, size and last change of an image's file."""
    if entry.path is None:
        return None, None, None
    with suppress(OSError):
        found = entry.path.stat()
        return str(entry.path), found.st_size, found.st_mtime_ns
    return str(entry.path), None, None


def _remove(path: Path) -> None:
    """Take a file away with what SQLite and its lock leave beside it."""
    for end in ("-wal", "-shm", "-journal", ".lock", ""):
        with suppress(OSError):
            path.with_name(f"{path.name}{end}").unlink()

"""The images of a project: known by their content, so that a moved or renamed one is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.project.schema import images
from celltally.project.store import Store, inserted, now
from celltally.types import Progress

__all__ = [
    "COLUMNS",
    "ImageEntry",
    "all_images",
    "file_sha256",
    "find_again",
    "image",
    "pixel_sha256",
    "register",
    "set_columns",
    "set_pixel_sha256",
]

#: What a plate map may say of an image, beside columns of its own.
COLUMNS = ("plate", "well", "site", "condition", "replicate")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ImageEntry:
    """An image of the project.

    Attributes
    ----------
    id
        Number in this project.
    name
        Of its file, or of its layer.
    path
        Where its file was last; None for pixels that came from no file.
    scene
        In files of several, or None.
    file_sha256, pixel_sha256
        Of its file's bytes, and of its pixels ("" while not known).
    shape
        ``(H, W)`` in pixels, or None.
    pixel_size_um
        ``(y, x)`` in micrometres, or None.
    plate, well, site, condition, replicate
        What the experiment says of it; "" where nothing.
    further
        Other columns of a plate map.
    added
        When it came into the project (ISO 8601, UTC).
    """

    id: int
    name: str
    path: Path | None = None
    scene: str | None = None
    file_sha256: str = ""
    pixel_sha256: str = ""
    shape: tuple[int, int] | None = None
    pixel_size_um: tuple[float, float] | None = None
    plate: str = ""
    well: str = ""
    site: str = ""
    condition: str = ""
    replicate: str = ""
    further: Mapping[str, str] = field(default_factory=dict)
    added: str = ""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes (of a folder's, such as OME-Zarr: of all its files).

    Raises
    ------
    UserError
        When it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                digest.update(str(file.relative_to(path)).encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({str(error.strerror).lower()}); check the path"
        ) from error
    return digest.hexdigest()


def pixel_sha256(pixels: NDArray[Any]) -> str:
    """Return the sha256 of decoded pixels, with their shape and type: whatever file holds them."""
    array = np.ascontiguousarray(pixels)
    head = json.dumps([array.dtype.newbyteorder("<").str, list(array.shape)]).encode()
    digest = hashlib.sha256(head)
    digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def register(
    store: Store,
    *,
    name: str,
    path: Path | None = None,
    scene: str | None = None,
    pixels_sha256: str = "",
    shape: tuple[int, int] | None = None,
    pixel_size_um: tuple[float, float] | None = None,
) -> int:
    """Return the project's number of an image; a new one is added.

    A file is known by its place, size and time of change, or else by its content: then it was
    moved or renamed, and the project notes its new place. A file whose content is another than
    before is another image; what was done to the former stays with that. A copy of a file
    that is still in its place is an image of its own.

    Parameters
    ----------
    path, scene
        The file; None for pixels that came from none, which ``pixels_sha256`` tells.

    Raises
    ------
    UserError
        When the file cannot be read, or the project cannot be written.
    """
    found = _by_place(store, path, scene) if path is not None else None
    if found is None:
        content = file_sha256(path) if path is not None else ""
        size, changed = _state(path)
        place = None if path is None else str(path.absolute())
        values: dict[str, Any] = {"name": name, "path": place, "scene": scene}
        values |= {"size_bytes": size, "changed_ns": changed, "file_sha256": content}
        found = _by_content(store, content, pixels_sha256, scene, place)
        with store.write() as connection:
            if found is not None:
                connection.execute(images.update().where(images.c.id == found).values(**values))
            else:
                row = images.insert().values(**values, added=now())
                found = inserted(connection, row)
    facts: dict[str, Any] = {}
    if pixels_sha256:
        facts["pixel_sha256"] = pixels_sha256
    if shape is not None:
        facts |= {"height": int(shape[0]), "width": int(shape[1])}
    if pixel_size_um is not None:
        facts |= {"pixel_size_y_um": pixel_size_um[0], "pixel_size_x_um": pixel_size_um[1]}
    if facts:
        with store.write() as connection:
            connection.execute(images.update().where(images.c.id == found).values(**facts))
    return found


def _state(path: Path | None) -> tuple[int | None, int | None]:
    if path is None:
        return None, None
    try:
        state = path.stat()
    except OSError:
        return None, None
    return state.st_size, state.st_mtime_ns


def _by_place(store: Store, path: Path, scene: str | None) -> int | None:
    size, changed = _state(path)
    same = (images.c.path == str(path.absolute()), images.c.scene.is_not_distinct_from(scene))
    state = (images.c.size_bytes == size, images.c.changed_ns == changed)
    with store.read() as connection:
        query = sa.select(images.c.id).where(*same, *state).order_by(images.c.id.desc())
        return connection.execute(query).scalar()


def _by_content(
    store: Store, content: str, pixels: str, scene: str | None, place: str | None
) -> int | None:
    """Return the image of the same bytes, or of the same pixels, whose file is gone from its place.

    The same place means that the file was only touched.
    """
    same = [images.c.file_sha256 == content] if content else []
    same += [images.c.pixel_sha256 == pixels] if pixels else []
    for condition in same:
        with store.read() as connection:
            query = sa.select(images.c.id, images.c.path).where(
                condition, images.c.scene.is_not_distinct_from(scene)
            )
            for number, path in connection.execute(query.order_by(images.c.id)):
                if path is None or path == place or not Path(path).exists():
                    return int(number)
    return None


def set_pixel_sha256(store: Store, image_id: int, value: str) -> None:
    """Keep the hash of an image's pixels."""
    with store.write() as connection:
        row = images.update().where(images.c.id == image_id).values(pixel_sha256=value)
        connection.execute(row)


def set_columns(store: Store, values: Mapping[int, Mapping[str, str]]) -> None:
    """Keep what the experiment says of images, in one go.

    Parameters
    ----------
    values
        By the image's number; names other than ``COLUMNS`` go to ``further``.
    """
    with store.write() as connection:
        for number, columns in values.items():
            query = sa.select(images.c.further).where(images.c.id == number)
            further = json.loads(connection.execute(query).scalar() or "{}")
            further |= {name: value for name, value in columns.items() if name not in COLUMNS}
            known = {name: value or None for name, value in columns.items() if name in COLUMNS}
            row = images.update().where(images.c.id == number)
            connection.execute(row.values(**known, further=json.dumps(further)))


def image(store: Store, image_id: int) -> ImageEntry:
    """Return an image of the project.

    Raises
    ------
    UserError
        When there is none of that number.
    """
    with store.read() as connection:
        row = connection.execute(sa.select(images).where(images.c.id == image_id)).first()
    if row is None:
        raise UserError(f"{store.path.name} has no image {image_id}; list those that it has")
    return _entry(row)


def all_images(store: Store) -> list[ImageEntry]:
    """Return every image, in the order in which they came."""
    with store.read() as connection:
        return [_entry(row) for row in connection.execute(sa.select(images).order_by(images.c.id))]


def _entry(row: Any) -> ImageEntry:
    size = (row.pixel_size_y_um, row.pixel_size_x_um)
    return ImageEntry(
        id=row.id,
        name=row.name,
        path=None if row.path is None else Path(row.path),
        scene=row.scene,
        file_sha256=row.file_sha256 or "",
        pixel_sha256=row.pixel_sha256 or "",
        shape=None if row.height is None else (row.height, row.width),
        pixel_size_um=None if None in size else size,
        **{name: getattr(row, name) or "" for name in COLUMNS},
        further=json.loads(row.further),
        added=row.added,
    )


def find_again(
    store: Store, folders: Iterable[Path]
) -> Generator[Progress, None, tuple[list[ImageEntry], list[ImageEntry]]]:
    """Look in folders (and below) for images whose files are gone, by size and content.

    Returns
    -------
    tuple of list of ImageEntry
        Those found, with their new places, and those that are still missing.
    """
    with store.read() as connection:
        rows = connection.execute(sa.select(images).where(images.c.path.is_not(None))).all()
    gone = [row for row in rows if not Path(row.path).exists()]
    if not gone:
        return [], []
    wanted: dict[int, list[Any]] = {}
    for row in gone:
        wanted.setdefault(row.size_bytes, []).append(row)
    yield Progress(0, len(gone), "looking through the folders")
    found: dict[int, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            size = _state(path)[0] if path.is_file() else None
            if size not in wanted:
                continue
            content = file_sha256(path)
            for row in wanted[size]:
                if row.file_sha256 == content and row.id not in found:
                    found[row.id] = path
            yield Progress(len(found), len(gone), path.name)
    for number, path in found.items():
        size, changed = _state(path)
        values = {"path": str(path.absolute()), "name": path.name}
        with store.write() as connection:
            changed_row = images.update().where(images.c.id == number)
            connection.execute(changed_row.values(**values, size_bytes=size, changed_ns=changed))
    return (
        [image(store, number) for number in found],
        [_entry(row) for row in gone if row.id not in found],
    )

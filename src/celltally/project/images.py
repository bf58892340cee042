"""The images of a project: known by their content, so that a moved or renamed one is found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

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
    "find",
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
#: Of larger files not every byte is read to know them again.
MOST_BYTES = 1 << 30
#: Files that tell that a folder is a zarr, of either version.
_OF_ZARR = (".zattrs", ".zgroup", ".zarray", "zarr.json")


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

    Beyond ``MOST_BYTES`` blocks are read that are spread evenly, and the sizes stand for the
    rest: who opens a large image over a network should not have to wait for all of it.

    Raises
    ------
    UserError
        When it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = [(file, file.stat().st_size) for file in _files(path)]
        share = min(1.0, MOST_BYTES / max(sum(size for _, size in files), 1))
        for file, size in files:
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            if share < 1:
                digest.update(str(size).encode() + b"\0")
            with file.open("rb") as stream:
                for block in _blocks(stream, size, share):
                    digest.update(block)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({str(error.strerror).lower()}); check the path"
        ) from error
    return digest.hexdigest()


def _blocks(stream: BinaryIO, size: int, share: float) -> Iterator[bytes]:
    """Read a file, or a share of it in blocks that are spread evenly."""
    if share == 1:
        while block := stream.read(_BLOCK):
            yield block
        return
    wanted = max(int(size * share) // _BLOCK, 1)
    for i in range(wanted):
        stream.seek(i * max(size - _BLOCK, 0) // max(wanted - 1, 1))
        yield stream.read(_BLOCK)


def _files(path: Path) -> list[Path]:
    """Return a file, or all those of a folder, in their order."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _place(path: Path) -> str:
    """Return a path as the project keeps it: absolute, without ``..``."""
    return os.path.abspath(path)  # noqa: PTH100  (resolve would follow links)


def pixel_sha256(pixels: NDArray[Any]) -> str:
    """Return the sha256 of decoded pixels, with their shape and type: whatever file holds them."""
    array = np.ascontiguousarray(pixels)
    head = json.dumps([array.dtype.newbyteorder("<").str, list(array.shape)]).encode()
    digest = hashlib.sha256(head)
    digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def find(
    store: Store,
    *,
    path: Path | None = None,
    scene: str | None = None,
    pixels_sha256: str = "",
) -> int | None:
    """Return the project's number of an image, None where it does not know it.

    See ``register`` for how it is known.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    found = _by_place(store, path, scene) if path is not None else None
    if found is not None:
        return found
    content = file_sha256(path) if path is not None else ""
    return _by_content(store, content, pixels_sha256, scene, path)


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
    facts: dict[str, Any] = {}
    found = _by_place(store, path, scene) if path is not None else None
    content = ""
    if found is None:
        content = file_sha256(path) if path is not None else ""
        found = _by_content(store, content, pixels_sha256, scene, path)
        if path is not None or found is None:  # pixels without a file change nothing of one's
            size, changed = _state(path)
            place = None if path is None else _place(path)
            facts = {"name": name, "path": place, "scene": scene, "file_sha256": content}
            facts |= {"size_bytes": size, "changed_ns": changed}
    if pixels_sha256:
        facts["pixel_sha256"] = pixels_sha256
    if shape is not None:
        facts |= {"height": int(shape[0]), "width": int(shape[1])}
    if pixel_size_um is not None:
        facts |= {"pixel_size_y_um": pixel_size_um[0], "pixel_size_x_um": pixel_size_um[1]}
    if found is not None and not facts:
        return found
    with store.write() as connection:
        if found is None:  # now that nobody else writes: another thread may have been quicker
            found = _by_place(store, path, scene) if path is not None else None
            found = found or _by_content(store, content, pixels_sha256, scene, path)
        if found is None:
            return inserted(connection, images.insert().values(**facts, added=now()))
        connection.execute(images.update().where(images.c.id == found).values(**facts))
    return found


def _state(path: Path | None) -> tuple[int | None, int | None]:
    """Size and time of the last change; of a folder those of all its files together."""
    if path is None:
        return None, None
    try:
        states = [file.stat() for file in _files(path)]
    except OSError:
        return None, None
    sizes, changed = [s.st_size for s in states], [s.st_mtime_ns for s in states]
    return sum(sizes), max(changed, default=0)


def _by_place(store: Store, path: Path, scene: str | None) -> int | None:
    size, changed = _state(path)
    same = (images.c.path == _place(path), images.c.scene.is_not_distinct_from(scene))
    state = (images.c.size_bytes == size, images.c.changed_ns == changed)
    with store.read() as connection:
        query = sa.select(images.c.id).where(*same, *state).order_by(images.c.id.desc())
        return connection.execute(query).scalar()


def _by_content(
    store: Store, content: str, pixels: str, scene: str | None, path: Path | None
) -> int | None:
    """Return the image of the same bytes, or of the same pixels, whose file is gone from its place.

    The same place means that the file was only touched, or that another way leads to it.
    """
    same = [images.c.file_sha256 == content] if content else []
    same += [images.c.pixel_sha256 == pixels] if pixels else []
    for condition in same:
        with store.read() as connection:
            query = sa.select(images).where(condition, images.c.scene.is_not_distinct_from(scene))
            rows = connection.execute(query.order_by(images.c.id)).all()
        for row in rows:
            if row.path is None or _is_same(row.path, path) or not _is_there(row):
                return int(row.id)
    return None


def _is_same(place: str, path: Path | None) -> bool:
    """Whether two ways lead to the same file."""
    if path is None:
        return False
    try:
        return place == _place(path) or path.samefile(place)
    except OSError:
        return False


def _is_there(row: Any) -> bool:
    """Whether an image's file is still in its place, and no other one is there."""
    path = Path(row.path)
    size, changed = _state(path)
    if size is None or size != row.size_bytes:
        return False
    try:
        return bool(changed == row.changed_ns or file_sha256(path) == row.file_sha256)
    except UserError:
        return False


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
    there = [_is_there(row) for row in rows]
    kept = {row.path for row, is_there in zip(rows, there, strict=True) if is_there}
    gone = [row for row, is_there in zip(rows, there, strict=True) if not is_there]
    if not gone:
        return [], []
    wanted: dict[int, list[Any]] = {}
    for row in gone:
        wanted.setdefault(row.size_bytes, []).append(row)
    yield Progress(0, len(gone), "looking through the folders")
    found: dict[int, Path] = {}
    for folder in folders:
        for path in _below(folder):
            if _place(path) in kept or (size := _state(path)[0]) not in wanted:
                continue
            try:
                content = file_sha256(path)
            except UserError:  # it went away meanwhile, or is somebody else's
                continue
            scenes = set()  # an image of each; copies of it were files of their own
            for row in wanted[size]:
                if row.file_sha256 == content and row.id not in found and row.scene not in scenes:
                    scenes.add(row.scene)
                    found[row.id] = path
            yield Progress(len(found), len(gone), path.name)
    with store.write() as connection:
        for number, path in found.items():
            size, changed = _state(path)
            values = {"path": _place(path), "name": path.name}
            changed_row = images.update().where(images.c.id == number)
            connection.execute(changed_row.values(**values, size_bytes=size, changed_ns=changed))
    return (
        [image(store, number) for number in found],
        [_entry(row) for row in gone if row.id not in found],
    )


def _below(folder: Path) -> Generator[Path, None, None]:
    """All files in a folder and below, and the folders that may be images themselves."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() or any((path / name).is_file() for name in _OF_ZARR):
            yield path

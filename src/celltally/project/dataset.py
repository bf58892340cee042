"""What people reviewed, as a data set folder that models learn from (docs/projects.md)."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import uuid
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.density.inside import inside_any
from celltally.errors import UserError
from celltally.io import (
    project_pixels,
    read_image,
    select_pixels,
    write_dots,
    write_regions,
)
from celltally.io._files import reason, write_atomically
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.images import ImageEntry, all_images
from celltally.project.store import Store
from celltally.project.study import is_missing
from celltally.project.work import load_dots, load_regions
from celltally.types import Dots, Image, Progress, Region

__all__ = ["LICENCE", "Exported", "counted_channel", "iter_export"]

LICENCE = "the user's own"
REVIEWED = ("reviewed", "audit")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    folder
        The data set.
    images, regions, dots
        Numbers of planes, of reviewed, audit and stated regions, and of dots in them.
    missing
        Sentences on images that had to be left out, because their files are missing or
        cannot be read.
    """

    folder: Path
    images: int
    regions: int
    dots: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plane:
    """A plane that something is known of."""

    entry: ImageEntry
    t: int
    z: int
    projected: bool
    count: StoredCount | None
    regions: tuple[Region, ...]
    dots: Dots
    stem: str = ""


def iter_export(
    store: Store, folder: str | Path, *, name: str | None = None
) -> Generator[Progress, None, Exported]:
    """Write a data set folder of everything that people reviewed or stated.

    For each plane with a reviewed, an audit or a stated region: its pixels without loss (the
    counted channel, PNG, or TIFF where PNG cannot hold them; colours as colours), the dots
    inside of reviewed and audit regions and those that a person touched elsewhere, removed
    ones among them, and the plane's regions. Outside of the regions nothing is known.
    Proposals that nobody reviewed are left out.

    The folder is written beside its place and renamed when it is whole; cancelled, nothing
    of it stays.

    Parameters
    ----------
    store
        The project; may be open for reading only.
    folder
        Must not exist yet, or be empty.
    name
        Of the data set; without, the folder's.

    Yields
    ------
    Progress
        After every plane.

    Returns
    -------
    Exported

    Raises
    ------
    UserError
        When the folder exists, nothing was reviewed, no reviewed image can be read, or the
        disk is full.
    """
    folder = Path(folder)
    _check_place(folder)
    yield Progress(0, 0, "looking for what was reviewed")
    planes = _named(_planes(store))
    if not planes:
        raise UserError(
            f"nothing in {store.path.name} was reviewed: draw a region, check its dots and make it "
            "a reviewed one, or state its count"
        )
    work = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        for part in ("images", "dots", "regions"):
            (work / part).mkdir(parents=True)
        written: list[_Plane] = []
        colours: list[bool] = []
        missing: list[str] = []
        for done, plane in enumerate(planes, start=1):
            try:
                pixels = _pixels(plane)
            except UserError as error:
                missing.append(str(error))
            else:
                _write(work, plane, pixels)
                written.append(plane)
                colours.append(pixels.ndim == 3)
            yield Progress(done, len(planes), plane.entry.name)
        if not written:
            raise UserError(f"no reviewed image can be read: {missing[0]}")
        meta = _meta(written, colours, name or folder.name)
        text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        write_atomically(work / "dataset.json", text.encode())
        if folder.is_dir():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({reason(error)}); make room, or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(work)
    return Exported(
        folder=folder,
        images=len(written),
        regions=sum(_is_known(r) for plane in written for r in plane.regions),
        dots=sum(int((plane.dots.state != "removed").sum()) for plane in written),
        missing=tuple(missing),
    )


def _check_place(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise UserError(f"{folder} exists and is not empty; give a new folder for the data set")
    if not folder.parent.is_dir():
        raise UserError(f"there is no folder {folder.parent}; make it first, or choose another")


# ---- what is known ----


def _is_known(region: Region) -> bool:
    return len(region.polygon) >= 3 and (region.kind in REVIEWED or region.stated is not None)


def _planes(store: Store) -> list[_Plane]:
    counts: dict[int, list[StoredCount]] = {}
    for count in in_force(latest_counts(store)):
        counts.setdefault(count.image_id, []).append(count)
    found = []
    for entry in all_images(store):
        regions = load_regions(store, entry.id)
        if not any(map(_is_known, regions)):
            continue
        dots = load_dots(store, entry.id)
        own = counts.get(entry.id, [])
        for t, z, projected in _places(regions, own):
            of_plane = tuple(
                r for r in regions if r.t == t and (projected or r.z == z) and len(r.polygon) >= 3
            )
            here = (dots.t == t) & (projected | (dots.z == z))
            reviewed = inside_any(dots.yx, [r.polygon for r in of_plane if r.by_dots])
            newest = max(
                (c for c in own if c.t == t and (projected or c.z == z)),
                key=lambda c: c.id,
                default=max(own, key=lambda c: c.id, default=None),
            )
            known = dots[here & (reviewed | (dots.state != "proposed"))]
            found.append(_Plane(entry, t, z, projected, newest, of_plane, known))
    return found


def _places(
    regions: Iterable[Region], counts: Sequence[StoredCount]
) -> list[tuple[int, int, bool]]:
    """Planes with something known; all z of a time point at once where their projection counts."""
    found: dict[tuple[int, int, bool], None] = {}
    for region in regions:
        if not _is_known(region):
            continue
        at_t = [c for c in counts if c.t == region.t]
        newest = max(at_t, key=lambda c: c.id, default=None)
        if newest is not None and newest.z_method == "projection":
            found[region.t, newest.z, True] = None
        else:
            found[region.t, region.z, False] = None
    return sorted(found)


def _named(planes: Sequence[_Plane]) -> list[_Plane]:
    """Give each plane a file name of its own, on every file system."""
    taken: set[str] = set()
    named = []
    several = {p.entry.id for p in planes if (p.t, p.z) != (0, 0)}
    for plane in planes:
        stem = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", Path(plane.entry.name).stem).strip(". ")
        stem = stem or "image"
        if plane.entry.id in several:
            stem += f"_t{plane.t}_max" if plane.projected else f"_t{plane.t}_z{plane.z}"
        free, n = stem, 1
        while free.casefold() in taken:
            n += 1
            free = f"{stem}-{n}"
        taken.add(free.casefold())
        named.append(replace(plane, stem=free))
    return named


# ---- pixels ----


def _pixels(plane: _Plane) -> NDArray[Any]:
    """Read the pixels that were counted.

    Raises
    ------
    UserError
        When they cannot be read, or are not those that were looked at.
    """
    entry = plane.entry
    if entry.path is None:
        raise UserError(
            f"{entry.name} came from no file: save its layer as a file and add that to the project"
        )
    if is_missing(entry):
        raise UserError(
            f"{entry.path} is missing; look for it with 'celltally project find', or leave it out"
        )
    image = read_image(entry.path, scene=entry.scene)
    channel = counted_channel(image, plane.count.channel if plane.count else "")
    if plane.projected:
        pixels = project_pixels(image, channel=channel, t=plane.t)
    else:
        # What a file lacks has no index; a flat image in the window has t = z = 0.
        at = {"t": plane.t, "z": plane.z}
        pixels = select_pixels(image, channel=channel, plane=at)
    if entry.shape is not None and pixels.shape[:2] != entry.shape:
        now, then = (" × ".join(map(str, shape)) for shape in (pixels.shape[:2], entry.shape))
        raise UserError(
            f"{entry.path} has {now} pixels, and {then} when it was counted; add it again, as "
            "another image"
        )
    return pixels


def counted_channel(image: Image, text: str) -> int | str | None:
    """Return a channel as ``select_pixels`` takes it, from what a count says in words."""
    text = text.strip()
    if not text:
        return None
    if text.isdecimal():
        return int(text)
    number = re.fullmatch(r"(?:channel|C)\s*(\d+)", text, re.IGNORECASE)
    return int(number[1]) if number is not None and not image.is_rgb else text


def _write(folder: Path, plane: _Plane, pixels: NDArray[Any]) -> None:
    suffix, content = _encoded(pixels, plane.entry)
    write_atomically(folder / "images" / f"{plane.stem}{suffix}", content)
    flat = np.zeros(len(plane.dots), dtype=np.int64)  # the file has one plane
    write_dots(folder / "dots" / f"{plane.stem}.csv", replace(plane.dots, t=flat, z=flat))
    regions = [replace(region, t=0, z=0) for region in plane.regions]
    write_regions(folder / "regions" / f"{plane.stem}.geojson", regions)


def _encoded(pixels: NDArray[Any], entry: ImageEntry) -> tuple[str, bytes]:
    """Pixels as PNG where that holds them without loss, else as TIFF."""
    content = io.BytesIO()
    if pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and pixels.ndim == 2):
        import imageio.v3 as iio

        iio.imwrite(content, pixels, extension=".png")
        return ".png", content.getvalue()
    import tifffile

    values = pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        values = values.astype(np.float64)  # TIFF readers know no 64-bit whole numbers
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(content, values, photometric=photometric, compression="zlib")
    return ".tif", content.getvalue()


def _meta(planes: Sequence[_Plane], colours: Sequence[bool], name: str) -> dict[str, Any]:
    diameters = [plane.count.diameter_px for plane in planes if plane.count is not None]
    sizes = {plane.entry.pixel_size_um for plane in planes}
    wells = {p.stem: "/".join(filter(None, (p.entry.plate, p.entry.well))) for p in planes}
    by_well = all(plane.entry.well for plane in planes)
    channel = "rgb" if all(colours) else None if any(colours) else "gray"
    labels = ["dots"] if any(r.by_dots for p in planes for r in p.regions) else []
    if any(r.stated is not None for p in planes for r in p.regions):
        labels.append("stated counts")
    (size,) = sizes if len(sizes) == 1 else (None,)
    return {
        "name": name,
        "diameter_px": round(median(diameters), 3) if diameters else None,
        "channel": channel,
        "pixel_size_um": None if size is None else float(np.sqrt(size[0] * size[1])),
        "licence": LICENCE,
        "labels": labels,
        "group": "well" if by_well else "image",
        # Planes of one image, and fields of one well, are not independent.
        "groups": wells if by_well else {p.stem: f"{p.entry.name}-{p.entry.id}" for p in planes},
        "made_from": {p.stem: _origin(p) for p in planes},
    }


def _origin(plane: _Plane) -> dict[str, Any]:
    return {
        "image": plane.entry.name,
        "sha256": plane.entry.file_sha256,
        "t": plane.t,
        "z": "max" if plane.projected else plane.z,
    }

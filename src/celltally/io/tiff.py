"""TIFF of all kinds (ImageJ, OME, LSM, plain), a plane at a time."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import DTypeLike, NDArray

from celltally.errors import UserError
from celltally.io._axes import leading_axes, micrometres, pixel_size, scene_index
from celltally.io._files import quiet, unreadable
from celltally.types import Image

__all__ = ["TiffPlanes", "list_tiff_scenes", "read_tiff"]

#: Resolution tags of plain TIFFs are believed up to this pixel size: 72 dpi is
#: a default of drawing programs, not a microscope.
MAX_PLAIN_PIXEL_UM = 20.0

#: tifffile goes on with what is left of a file that was cut off, and only logs
#: that pages or the description (270) lie beyond its end; a stack of 5 planes
#: would be counted as one of 1.
_CUT_OFF = re.compile(r"invalid page offset|TiffTag 270 .*invalid value offset")


class TiffPlanes:
    """A TIFF series that reads only the pages that are indexed.

    It holds no open file, so it can be pickled and used from several threads.

    Parameters
    ----------
    path, series
        File and index of the series in it.
    pages
        Shape of the axes that run over pages.
    plane
        Shape of one page.
    dtype
        Of the pixels.
    offset
        Where the pixels begin when all lie in one uncompressed block, else None.
    inverted
        Whether 0 is white in the file (MinIsWhite); black is 0 here.
    """

    def __init__(
        self,
        path: Path,
        series: int,
        pages: tuple[int, ...],
        plane: tuple[int, ...],
        dtype: np.dtype[Any],
        offset: int | None,
        inverted: bool = False,
    ) -> None:
        self._path = path
        self._series = series
        self._pages = pages
        self._plane = plane
        self._offset = offset
        self._inverted = inverted
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of all axes."""
        return self._pages + self._plane

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Index as a numpy array is; a page that is not asked for is not read."""
        full = key if isinstance(key, tuple) else (key,)
        if any(part is Ellipsis for part in full):
            at = next(i for i, part in enumerate(full) if part is Ellipsis)
            fill = (slice(None),) * (self.ndim - len(full) + 1)
            full = full[:at] + fill + full[at + 1 :]
        over_pages, within = full[: len(self._pages)], full[len(self._pages) :]
        numbers = np.asarray(np.arange(math.prod(self._pages)).reshape(self._pages)[over_pages])
        pixels = np.empty((numbers.size, *self._plane), dtype=self.dtype)
        self._read(numbers.ravel(), pixels)
        if self._inverted:
            np.invert(pixels, out=pixels)  # of unsigned numbers: the largest one minus it
        pixels = pixels.reshape(numbers.shape + self._plane)
        picked = pixels[(slice(None),) * numbers.ndim + within]
        return np.asarray(picked)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return self[()].astype(dtype or self.dtype, copy=False)

    def _read(self, numbers: NDArray[np.intp], out: NDArray[Any]) -> None:
        if self._offset is not None:
            count = math.prod(self._plane)
            with self._path.open("rb") as file:
                for i, number in enumerate(numbers):
                    file.seek(self._offset + int(number) * count * self.dtype.itemsize)
                    block = np.fromfile(file, dtype=self.dtype, count=count)
                    if len(block) < count:
                        raise ValueError("the file ends before its pixels do")
                    out[i] = block.reshape(self._plane)
            return
        import tifffile

        with quiet("tifffile"), tifffile.TiffFile(self._path) as tif:
            series = tif.series[self._series]
            if len(series.pages) != math.prod(self._pages):
                # Pages and axes do not correspond (volumes in a page): read it all.
                out[...] = series.asarray().reshape((-1, *self._plane))[numbers]
                return
            for i, number in enumerate(numbers):
                page = series.pages[int(number)]
                if page is None:
                    raise UserError(
                        f"{self._path} is one of several files of an image, and the one with "
                        "this plane is missing; put all of them into one folder"
                    )
                out[i] = _page_pixels(page, self._plane)


def _page_pixels(page: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    blocks = zip(page.dataoffsets, page.databytecounts, strict=True)
    end = max((start + length for start, length in blocks), default=0)
    if end > page.parent.filehandle.size:
        raise ValueError("the file ends before its pixels do")
    pixels: NDArray[Any] = page.asarray()
    return pixels.reshape(shape)


def list_tiff_scenes(path: Path) -> list[str]:
    """Return the names of a TIFF's image series (OME images, sizes of a generic file)."""
    import tifffile

    try:
        with quiet("tifffile"), tifffile.TiffFile(path) as tif:
            return _scene_names(tif)
    except Exception as error:  # a damaged file can fail in any part of the parser
        raise unreadable(path, error) from error


def read_tiff(path: Path, scene: str | int | None = None) -> Image:
    """Open a TIFF; pixels are read when they are indexed.

    Axes come from ImageJ, OME, LSM or tifffile's own metadata; unnamed ones are
    mapped by ``leading_axes``. Samples are colours (S) where the file says so,
    or where an unnamed array ends in 3 or 4 bytes per pixel; else channels.

    Raises
    ------
    UserError
        When it is damaged, holds no pixels, or has no such scene.
    """
    import tifffile

    try:
        with quiet("tifffile") as said, tifffile.TiffFile(path) as tif:
            names = _scene_names(tif)
            index = scene_index(path, names, scene)
            image = _describe(path, tif, index)
            if any(_CUT_OFF.search(line) for line in said):
                raise ValueError("the file ends before its pages do")
            return Image(
                **image,
                name=path.name,
                path=path,
                scene=names[index] if len(names) > 1 else None,
            )
    except UserError:
        raise
    except Exception as error:  # a damaged file can fail in any part of the parser
        raise unreadable(path, error) from error


def _scene_names(tif: Any) -> list[str]:
    if not tif.series:
        raise ValueError("no image in it")
    names: list[str] = []
    for i, series in enumerate(tif.series):
        name = series.name or f"Series {i}"
        names.append(name if name not in names else f"{name} ({i})")
    return names


def _describe(path: Path, tif: Any, index: int) -> dict[str, Any]:
    series = tif.series[index]
    page = series.keyframe
    plane_axes, plane = str(page.axes), tuple(page.shape)
    split = len(series.shape) - len(plane)
    by_page = (
        split >= 0
        and tuple(series.shape[split:]) == plane
        and len(series.pages) in (1, math.prod(series.shape[:split]))
    )
    if not by_page:  # the whole series is one "page"
        plane_axes, plane, split = str(series.axes), tuple(series.shape), 0
    if 0 in series.shape or 0 in plane or series.dtype is None:
        raise UserError(
            f"{path} holds no pixels (its shape is {tuple(series.shape)}); export it again"
        )
    # Pixels that lie in one block are read as they are, the file's byte order included.
    offset = series.dataoffset if _own_file(path, series) else None
    dtype = np.dtype(series.dtype).newbyteorder("=" if offset is None else tif.byteorder)
    inverted = page.photometric.name == "MINISWHITE" and dtype.kind in "bu"
    data = TiffPlanes(path, index, tuple(series.shape[:split]), plane, dtype, offset, inverted)
    letters = str(series.axes)[:split] + plane_axes
    names = _name_axes(path, letters, data.shape, _is_colour(page))
    extra = _metadata(tif, index, page)
    if "C" in names and len(extra["channel_names"]) != data.shape[names.index("C")]:
        extra["channel_names"] = ()
    return {**_drop_nameless(data, names), **extra}


def _own_file(path: Path, series: Any) -> bool:
    return Path(series.keyframe.parent.filehandle.path) == path.absolute()


def _is_colour(page: Any) -> bool:
    return page.photometric.name in ("RGB", "YCBCR", "CIELAB", "ICCLAB", "ITULAB")


def _name_axes(path: Path, letters: str, shape: tuple[int, ...], colour: bool) -> list[str]:
    names = list(letters)
    if "S" in names:
        samples = shape[names.index("S")]
        if samples not in (3, 4) or not (colour or names[-1] == "S"):
            # Samples that are no colours are channels.
            names[names.index("S")] = "Q" if "C" in names else "C"
    elif names[-3:] == ["Q", "Y", "X"] and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        names[-3:] = ["Y", "X", "S"]  # rows, columns and colours that nobody named
    if "Y" not in names or "X" not in names:
        raise UserError(
            f"{path} is no image: its {len(shape)} axes ({letters}) lack rows or columns"
        )
    plane = [i for i, name in enumerate(names) if name in "YXS"]
    rest = [i for i in range(len(names)) if i not in plane]
    found = leading_axes(
        path,
        "".join(names[i] for i in rest),
        tuple(shape[i] for i in rest),
        "".join(names[i] for i in plane),
    )
    for i, name in zip(rest, found, strict=True):
        names[i] = name
    return names


def _drop_nameless(data: TiffPlanes, names: list[str]) -> dict[str, Any]:
    """Leave out axes of length 1 that have no letter."""
    pages = len(data._pages)
    kept = TiffPlanes(
        data._path,
        data._series,
        tuple(n for n, name in zip(data._pages, names, strict=False) if name),
        tuple(n for n, name in zip(data._plane, names[pages:], strict=True) if name),
        data.dtype,
        data._offset,
        data._inverted,
    )
    return {"data": kept, "axes": "".join(names)}


def _metadata(tif: Any, index: int, page: Any) -> dict[str, Any]:
    """Pixel size and channel names, from the first source that has them."""
    size: tuple[float, float] | None = None
    channels: tuple[str, ...] = ()
    if tif.is_ome and tif.ome_metadata:
        size, channels = _from_ome(str(tif.ome_metadata), index)
    elif tif.is_imagej and tif.imagej_metadata:
        found = tif.imagej_metadata
        size = _from_tags(page, micrometres(found.get("unit")))
        labels = found.get("Labels")
        if labels and len(labels) == found.get("channels"):
            channels = tuple(str(label) for label in labels)
    elif tif.is_lsm and tif.lsm_metadata:
        found = tif.lsm_metadata
        size = pixel_size(found.get("VoxelSizeY"), found.get("VoxelSizeX"), 1e6)
        channels = tuple(map(str, found.get("ChannelColors", {}).get("ColorNames", ())))
    else:
        units = {"INCH": 25400.0, "CENTIMETER": 1e4}
        unit = page.tags.get("ResolutionUnit")
        size = _from_tags(page, units.get(getattr(unit.value, "name", "")) if unit else None)
        if size and max(size) > MAX_PLAIN_PIXEL_UM:
            size = None
    return {"pixel_size_um": size, "channel_names": channels}


def _from_tags(page: Any, unit: float | None) -> tuple[float, float] | None:
    steps = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        pixels, units = tag.value if tag else (0, 0)
        steps.append(units / pixels if pixels else None)
    return pixel_size(steps[0], steps[1], unit)


def _from_ome(xml: str, index: int) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    try:
        root = ET.fromstring(xml)
    except ET.ParseError:
        return None, ()
    pixels = [e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"]
    if index >= len(pixels):
        return None, ()
    found = pixels[index]
    sizes: list[float | None] = []
    for axis in "YX":
        try:
            unit = micrometres(found.get(f"PhysicalSize{axis}Unit", "µm"))
            sizes.append(float(found.get(f"PhysicalSize{axis}", "")) * (unit or 0.0))
        except ValueError:
            sizes.append(None)
    channels = [e for e in found if e.tag.rpartition("}")[2] == "Channel"]
    names = tuple(e.get("Name") or str(i) for i, e in enumerate(channels))
    named = any(e.get("Name") for e in channels)
    return pixel_size(sizes[0], sizes[1], 1.0), names if named else ()

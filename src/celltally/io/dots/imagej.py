"""ImageJ's multi-point selections: one to a ``.roi`` file, or several in a RoiSet.zip.

Of a point, whole numbers are the centre of a pixel (ImageJ's "line" convention, since 1.52),
as in memory; of an area they are its corner. Places have single precision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import quiet, read_all, reason
from celltally.io._numbers import LARGEST
from celltally.io._text import MOST_BYTES, whole
from celltally.io._zip import read_zip, write_zip
from celltally.io.dots._colours import class_colours
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._rows import slices_of, time_in_slices, without_removed
from celltally.types import Dots

__all__ = ["IMAGEJ", "IMAGEJ_ROI"]

_MAGIC = b"Iout"
#: ImageJ's points have counters 0 to 99.
_MOST_CLASSES = 100
#: A point's slice has sixteen bits.
_MOST_SLICES = 2**16 - 1
#: The names of classes, in the selection's properties. Percent signs survive Java's reader of
#: properties, which takes backslashes for escapes.
_CLASSES = "celltally.classes"


# ---- several selections ----


def _is_set(head: bytes) -> bool:
    """Whether a zip file's first entry is a selection."""
    if not head.startswith(b"PK\x03\x04") or len(head) < 30:
        return False
    length = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + length].lower().endswith(b".roi")


def _read_set(path: Path) -> Dots:
    return _joined(path, ((f"{path}, entry {n!r}", d) for n, d in read_zip(path, ".roi")))


def _write_set(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    dots = without_removed(dots)
    colours = class_colours(dots.label.tolist())
    stack = bool(dots.t.any() or dots.z.any())
    entries: dict[str, bytes] = {}
    for label, t, z, rows in _groups(dots):
        name = _name(label)
        if stack:
            name += f" t{t + 1:04} z{z + 1:04}"
        free, number = name, 2
        while f"{free}.roi" in entries:
            free, number = f"{name} ({number})", number + 1
        roi = _selection(dots.yx[rows], [label], colours[label], (t, z) if stack else None)
        roi.name = free  # what ImageJ shows is the entry's name
        entries[f"{free}.roi"] = roi.tobytes()
    return write_zip(entries)


def _groups(dots: Dots) -> Iterator[tuple[str, int, int, NDArray[np.intp]]]:
    """Yield class, time point, plane and rows of the dots that share these."""
    keys = list(zip(dots.label.tolist(), dots.t.tolist(), dots.z.tolist(), strict=True))
    rows: dict[tuple[str, int, int], list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    for (label, t, z), group in sorted(rows.items(), key=lambda item: item[1][0]):
        yield label, t, z, np.array(group, np.intp)


# ---- a single selection ----


def _is_roi(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _read_roi(path: Path) -> Dots:
    return _joined(path, [(str(path), read_all(path, MOST_BYTES))])


def _write_roi(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    dots = without_removed(dots)
    if not len(dots):
        raise UserError(
            "ImageJ has no selection without points, and there are no dots; choose another format"
        )
    labels = sorted(set(dots.label.tolist()), key=lambda label: (label != "cell", label))
    if len(labels) > _MOST_CLASSES:
        raise UserError(
            f"a .roi file holds {_MOST_CLASSES} classes, and these dots have {len(labels)}; "
            "choose imagej (RoiSet.zip)"
        )
    colour = class_colours(labels)[labels[0]]
    roi = _selection(dots.yx, labels, colour, None)
    stack = bool(dots.t.any() or dots.z.any())
    if len(labels) > 1 or stack:
        numbers = {label: i for i, label in enumerate(labels)}
        roi.counters = np.array([numbers[label] for label in dots.label.tolist()], np.uint8)
        slices = slices_of(dots, about.planes) if stack else np.zeros(len(dots), np.int64)
        if slices.max() > _MOST_SLICES:
            raise UserError(
                f"a .roi file holds {_MOST_SLICES} slices, and these dots lie in slice "
                f"{slices.max()}; choose imagej (RoiSet.zip)"
            )
        roi.counter_positions = slices.astype(np.uint32)
    return bytes(roi.tobytes())


# ---- both ----


def _selection(
    yx: NDArray[np.float64],
    labels: list[str],
    colour: tuple[int, int, int],
    plane: tuple[int, int] | None,
) -> Any:
    import roifile

    t, z = plane or (-1, -1)
    roi = roifile.ImagejRoi.frompoints(
        yx[:, ::-1].astype(np.float32), name=_name(labels[0]), t=t, z=z
    )
    roi.roitype = roifile.ROI_TYPE.POINT
    roi.options = roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    roi.stroke_color = bytes([255, *colour])
    roi.props = f"{_CLASSES}: {','.join(quote(whole(label), safe='') for label in labels)}\n"
    return roi


def _name(label: str) -> str:
    """Return what ImageJ shows for a class, and what a file may be called."""
    return re.sub(r"[^\w .+-]|[^\0-\uffff]", "_", label)[:80].strip(" .") or "cell"


def _joined(path: Path, entries: Iterable[tuple[str, bytes]]) -> Dots:
    """Dots of all selections of points; others are outlines of something."""
    parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], list[str]]] = []
    others = 0
    for where, content in entries:
        roi = _decoded(where, content)
        if roi.roitype.name != "POINT":
            others += 1
            continue
        t, z = _planes(roi)
        parts.append((_places(where, roi), t, z, _labels(roi, len(z))))
    if others and not parts:
        raise UserError(
            f"{path} holds {others} {'outline' if others == 1 else 'outlines'} but no points; "
            "choose a file of point selections"
        )
    if not parts:
        return Dots.new()
    return Dots.new(
        np.concatenate([part[0] for part in parts]),
        t=np.concatenate([part[1] for part in parts]),
        z=np.concatenate([part[2] for part in parts]),
        label=np.array([label for part in parts for label in part[3]], np.str_),
    )


def _decoded(where: str, content: bytes) -> Any:
    import roifile

    try:
        with quiet("roifile"):
            return roifile.ImagejRoi.frombytes(content)
    except Exception as error:  # a damaged selection can fail in any part of the parser
        raise UserError(
            f"{where} is no readable ImageJ selection ({reason(error)}); it may be truncated: "
            "save it again"
        ) from None


def _places(where: str, roi: Any) -> NDArray[np.float64]:
    """Return ``(n, 2)`` y and x of a selection's points."""
    if roi.subpixel_coordinates is not None:
        xy = np.asarray(roi.subpixel_coordinates, np.float64)
    else:
        xy = np.asarray(roi.integer_coordinates, np.float64) + np.array([roi.left, roi.top])
    wrong = np.flatnonzero(~(np.abs(xy) <= LARGEST).all(axis=1))  # NaN is wrong, too
    if len(wrong):
        x, y = xy[wrong[0]].tolist()
        raise UserError(
            f"{where}: point {wrong[0] + 1} is at x {x}, y {y}, which is no place in an image; "
            "correct it"
        )
    return xy[:, ::-1]


def _planes(roi: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return time point and plane of every point; ImageJ counts both from 1, 0 is all of them."""
    n = int(roi.n_coordinates)
    t = np.full(n, max(int(roi.t_position) - 1, 0), np.int64)
    z = np.full(n, max(int(roi.z_position) - 1, 0), np.int64)
    if not (roi.z_position > 0 or roi.t_position > 0):
        z[:] = max(int(roi.position) - 1, 0)  # a slice of the stack
        if roi.counter_positions is not None:
            z = np.maximum(np.asarray(roi.counter_positions, np.int64) - 1, z)
    return t, z


def _labels(roi: Any, n: int) -> list[str]:
    """Return the class of every point: as we wrote it, else as the selection is called."""
    numbers = [0] * n if roi.counters is None else np.asarray(roi.counters).tolist()
    found = re.search(rf"(?m)^{re.escape(_CLASSES)} *[:=] *(\S+)", roi.props)
    names = [whole(unquote(name)) for name in found[1].split(",")] if found else []
    if not names:
        # ImageJ's own names are slice, y and x.
        name = whole(roi.name).strip()
        own = re.fullmatch(r"[\d-]*", name) is not None
        several = len(set(numbers)) > 1
        return [f"counter {i}" if several else "cell" if own else name for i in numbers]
    return [(names[i] if i < len(names) else f"counter {i}") or "cell" for i in numbers]


_KEEPS = Keeps("single", id=False, score=False, state=False, source=False, removed=False)
IMAGEJ = DotFormat("imagej", (".zip",), _is_set, _read_set, _write_set, "ImageJ RoiSet", _KEEPS)
IMAGEJ_ROI = DotFormat(
    "imagej-roi",
    (".roi",),
    _is_roi,
    _read_roi,
    _write_roi,
    "ImageJ ROI",
    _KEEPS,
    lambda dots: time_in_slices(without_removed(dots), "ImageJ ROI"),
)

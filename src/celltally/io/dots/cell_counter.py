"""Fiji's Cell Counter: whole pixels, a named type per class, slices from 1.

A marker at (0, 0) is the top-left pixel itself: the plugin measures the value of the pixel
that a marker names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from celltally.io._text import for_xml, one_line
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._markers import PLACEHOLDER, is_markers, read_markers
from celltally.io.dots._rows import slices_of, time_in_slices, whole_pixels, without_removed
from celltally.types import Dots

__all__ = ["CELL_COUNTER"]

_NAMELESS = "Untitled"


def _is_cell_counter(head: bytes) -> bool:
    return is_markers(head) and PLACEHOLDER not in head


def _read(path: Path) -> Dots:
    """Read markers; slices become planes (z), for the file does not say what else they are.

    A slice 0, which no Cell Counter writes, is taken for the first one.
    """
    markers = list(read_markers(path, what="slices", first=1))
    return Dots.new(
        np.array([(m.y, m.x) for m in markers], np.float64).reshape(-1, 2),
        z=np.array([max(m.z - 1, 0) for m in markers], np.int64),
        label=np.array([m.name or f"Type {m.type}" for m in markers], np.str_),
    )


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    dots = without_removed(dots)
    slices = slices_of(dots, about.planes)
    return ("\r\n".join(_lines(dots, slices, about)) + "\r\n").encode("utf-8", "replace")


def _lines(dots: Dots, slices: NDArray[np.int64], about: About) -> Iterator[str]:
    pixel_y, pixel_x = about.pixel_size_um or (1.0, 1.0)
    unit = "pixel" if about.pixel_size_um is None else "micron"
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield "<CellCounter_Marker_File>"
    yield " <Image_Properties>"
    # The plugin compares it with the title of the image's window, and reads nothing else into it.
    yield f"     <Image_Filename>{_clean(about.image) or _NAMELESS}</Image_Filename>"
    yield f"     <X_Calibration>{pixel_x!r}</X_Calibration>"
    yield f"     <Y_Calibration>{pixel_y!r}</Y_Calibration>"
    yield "     <Z_Calibration>1.0</Z_Calibration>"
    yield f"     <Calibration_Unit>{unit}</Calibration_Unit>"
    yield " </Image_Properties>"
    yield " <Marker_Data>"
    yield "     <Current_Type>0</Current_Type>"  # an index into the list, not a type's number
    labels = dots.label
    names = sorted(set(labels.tolist()), key=lambda label: (label != "cell", label)) or ["cell"]
    pixels = whole_pixels(dots)
    for number, name in enumerate(names, 1):
        yield "     <Marker_Type>"
        yield f"         <Type>{number}</Type>"
        yield f"         <Name>{_clean(name) or 'cell'}</Name>"
        for i in np.flatnonzero(labels == name).tolist():
            yield "         <Marker>"
            yield f"             <MarkerX>{pixels[i, 1]}</MarkerX>"
            yield f"             <MarkerY>{pixels[i, 0]}</MarkerY>"
            yield f"             <MarkerZ>{slices[i]}</MarkerZ>"
            yield "         </Marker>"
        yield "     </Marker_Type>"
    yield " </Marker_Data>"
    yield "</CellCounter_Marker_File>"


def _clean(text: str) -> str:
    return escape(for_xml(one_line(text)))


def _also_lost(dots: Dots) -> list[str]:
    dots = without_removed(dots)
    lost = time_in_slices(dots, "Fiji Cell Counter")
    if any(for_xml(one_line(label)) != label for label in dots.label.tolist()):
        lost.append(
            "Fiji Cell Counter files hold class names in one line: line breaks in them become "
            "spaces."
        )
    return lost


CELL_COUNTER = DotFormat(
    "cell-counter",
    (".xml",),
    _is_cell_counter,
    _read,
    _write,
    "Fiji Cell Counter",
    Keeps("pixels", id=False, score=False, state=False, source=False, removed=False),
    _also_lost,
)

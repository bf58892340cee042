"""``CellCounter_Marker_File``: the XML that Fiji's Cell Counter began and cellfinder took over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from celltally.errors import UserError
from celltally.io._numbers import index, number, plane
from celltally.io._xml import read_xml

__all__ = ["PLACEHOLDER", "Marker", "is_markers", "read_markers"]

#: What cellfinder calls every image.
PLACEHOLDER = b"placeholder.tif"


@dataclass(frozen=True)
class Marker:
    """One marker as it stands in the file.

    Attributes
    ----------
    where
        The file and the marker's number, for errors.
    type, name
        Number and name of its type; "" where it has none.
    x, y
        Pixels.
    z
        Slice.
    """

    where: str
    type: int
    name: str
    x: float
    y: float
    z: int


def is_markers(head: bytes) -> bool:
    """Whether a file begins as such a file."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and (
        b"<CellCounter_Marker_File" in head
    )


def read_markers(path: Path, *, what: str = "planes", first: int = 0) -> Iterator[Marker]:
    """Yield the markers of a file.

    Parameters
    ----------
    path
        The file.
    what, first
        What its program calls a slice, and the number of the first one.

    Raises
    ------
    UserError
        When it is broken, something else, or has a marker that is nowhere.
    """
    root = read_xml(path)
    data = root.find("Marker_Data")
    if root.tag != "CellCounter_Marker_File" or data is None:
        raise UserError(
            f"{path} is no file of markers: its root is {root.tag[:40]!r}, without 'Marker_Data'; "
            "save it from Cell Counter or cellfinder again"
        )
    for of_type in data.iter("Marker_Type"):
        kind = index(_text(of_type, "Type"), f"{path}, a marker type", "Type")
        name = _text(of_type, "Name").strip()
        for i, marker in enumerate(of_type.iter("Marker"), 1):
            where = f"{path}, marker {i} of type {kind}"
            yield Marker(
                where=where,
                type=kind,
                name=name,
                x=number(_text(marker, "MarkerX"), where, "MarkerX"),
                y=number(_text(marker, "MarkerY"), where, "MarkerY"),
                z=plane(_text(marker, "MarkerZ"), where, "MarkerZ", what, first),
            )


def _text(element: Element, tag: str) -> str:
    return element.findtext(tag) or ""

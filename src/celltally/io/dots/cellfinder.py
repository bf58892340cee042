"""cellfinder's XML and YAML: voxels in the order x, y, z; type 1 is no cell, type 2 a cell.

A voxel is named by its index in the array, so (0, 0, 0) is the centre of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from celltally.errors import UserError
from celltally.io._numbers import index, number, plane
from celltally.io._yaml import read_yaml
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._markers import PLACEHOLDER, is_markers, read_markers
from celltally.io.dots._rows import whole_pixels, without_removed
from celltally.types import Dots

__all__ = ["CELLFINDER", "CELLFINDER_YAML", "NO_CELL"]

NO_CELL = "non-cell"
_LABELS = {2: "cell", 1: NO_CELL, -1: NO_CELL}


def _dots(places: Iterable[tuple[float, float]], z: list[int], labels: list[str]) -> Dots:
    return Dots.new(
        np.array(list(places), np.float64).reshape(-1, 2),
        z=np.array(z, np.int64),
        label=np.array(labels, np.str_),
    )


def _label(kind: int, where: str) -> str:
    if kind not in _LABELS:
        raise UserError(
            f"{where}: its type is {kind}, but cellfinder knows 1 (no cell) and 2 (cell) only; "
            "read it as cell-counter"
        )
    return _LABELS[kind]


def _voxels(dots: Dots) -> Iterator[tuple[int, int, int, int]]:
    """Yield x, y, z and type of every dot."""
    kinds = np.where(dots.label == NO_CELL, 1, 2).tolist()
    pixels = whole_pixels(dots).tolist()
    for (y, x), z, kind in zip(pixels, dots.z.tolist(), kinds, strict=True):
        yield x, y, z, kind


# ---- XML ----


def _is_xml(head: bytes) -> bool:
    return is_markers(head) and PLACEHOLDER in head


def _read_xml(path: Path) -> Dots:
    markers = list(read_markers(path))
    return _dots(
        ((m.y, m.x) for m in markers),
        [m.z for m in markers],
        [_label(m.type, m.where) for m in markers],
    )


def _write_xml(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    voxels = list(_voxels(without_removed(dots)))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<CellCounter_Marker_File>",
        "  <Image_Properties>",
        f"    <Image_Filename>{PLACEHOLDER.decode()}</Image_Filename>",
        "  </Image_Properties>",
        "  <Marker_Data>",
        "    <Current_Type>1</Current_Type>",
    ]
    for kind in sorted({kind for *_, kind in voxels}):
        lines += ["    <Marker_Type>", f"      <Type>{kind}</Type>"]
        for x, y, z, its in voxels:
            if its == kind:
                lines += [
                    "      <Marker>",
                    f"        <MarkerX>{x}</MarkerX>",
                    f"        <MarkerY>{y}</MarkerY>",
                    f"        <MarkerZ>{z}</MarkerZ>",
                    "      </Marker>",
                ]
        lines.append("    </Marker_Type>")
    lines += ["  </Marker_Data>", "</CellCounter_Marker_File>", ""]
    return "\n".join(lines).encode()


# ---- YAML ----


def _is_yaml(head: bytes) -> bool:
    return re.search(rb"(?m)^[\"']?CellCounter_Marker_File[\"']?[ \t]*:", head) is not None


def _read_yaml(path: Path) -> Dots:
    found = read_yaml(path)
    cells = found.get("candidate_cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        raise UserError(
            f"{path} is no file of cells: it has no list 'candidate_cells'; "
            "save it from cellfinder again"
        )
    places, planes, labels = [], [], []
    for i, cell in enumerate(cells, 1):
        where = f"{path}, cell {i}"
        if not isinstance(cell, dict):
            raise UserError(f"{where} is {str(cell)[:40]!r}, not x, y, z and type; correct it")
        places.append((number(cell.get("y"), where, "y"), number(cell.get("x"), where, "x")))
        planes.append(plane(cell.get("z", 0), where, "z"))
        labels.append(_label(index(cell.get("type", 2), where, "type"), where))
    return _dots(places, planes, labels)


def _write_yaml(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    voxels = list(_voxels(without_removed(dots)))
    lines = [
        "CellCounter_Marker_File: true",
        f"num_candidates: {len(voxels)}",
        "candidate_cells:" if voxels else "candidate_cells: []",
        *(
            f"  - {{x: {x}, y: {y}, z: {z}, type: {kind}, metadata: {{}}}}"
            for x, y, z, kind in voxels
        ),
    ]
    return "\n".join([*lines, ""]).encode()


def _also_lost(dots: Dots) -> list[str]:
    others = sorted(set(without_removed(dots).label.tolist()) - {"cell", NO_CELL})
    if not others:
        return []
    named = ", ".join(repr(name) for name in others[:3]) + (", …" if len(others) > 3 else "")
    return [f"cellfinder knows cells and non-cells only: the classes {named} become cells."]


_KEEPS = Keeps(
    "pixels", id=False, t=False, score=False, state=False, source=False, removed=False
)  # fmt: skip
CELLFINDER = DotFormat(
    "cellfinder", (".xml",), _is_xml, _read_xml, _write_xml, "cellfinder", _KEEPS, _also_lost
)
CELLFINDER_YAML = DotFormat(
    "cellfinder-yaml",
    (".yml", ".yaml"),
    _is_yaml,
    _read_yaml,
    _write_yaml,
    "cellfinder YAML",
    _KEEPS,
    _also_lost,
)

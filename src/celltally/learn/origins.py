"""Which file each image of an exported data set was.

A project exports its images under names and in formats of its own; ``made_from`` in
``dataset.json`` says what they were, as ``{"field-2": {"image": "field.tif", "sha256": "1a2b…",
"t": 0, "z": 0}}``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UNKNOWN", "Origin", "origins_of"]


@dataclass(frozen=True)
class Origin:
    """The file that an image was exported from.

    Attributes
    ----------
    name
        What the person who reviewed it calls the image: the file's name, with the plane where
        several of one file were exported, as in ``stack.tif (t 0, z 3)``, and numbered where
        files are of one name, as in ``field.tif (1 of 2 of this name)``; "" where that is not
        said.
    sha256
        Of the file; "" where that is not said.
    """

    name: str = ""
    sha256: str = ""


#: Of an image that was not exported, or does not say from what.
UNKNOWN = Origin()


def origins_of(meta: Mapping[str, Any]) -> dict[str, Origin]:
    """Files that images were exported from, by stem; what does not say so is left out.

    Parameters
    ----------
    meta
        The content of ``dataset.json``.
    """
    made_from = meta.get("made_from")
    planes = {
        stem: origin
        for stem, origin in (made_from.items() if isinstance(made_from, dict) else ())
        if isinstance(origin, dict)
    }
    names = _names({stem: origin for stem, origin in planes.items() if _text(origin, "image")})
    return {
        stem: Origin(names.get(stem, ""), _text(origin, "sha256"))
        for stem, origin in planes.items()
    }


def _names(planes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    several = Counter(map(_file, planes.values()))
    found = {
        stem: _text(origin, "image") + (_plane(origin) if several[_file(origin)] > 1 else "")
        for stem, origin in planes.items()
    }
    alike, told = Counter(found.values()), Counter[str]()
    for stem, name in found.items():
        if alike[name] > 1:
            told[name] += 1
            found[stem] = f"{name} ({told[name]} of {alike[name]} of this name)"
    return found


def _text(origin: Mapping[str, Any], key: str) -> str:
    value = origin.get(key)
    return value if isinstance(value, str) else ""


def _file(origin: Mapping[str, Any]) -> tuple[str, str]:
    return _text(origin, "image"), _text(origin, "sha256")


def _plane(origin: Mapping[str, Any]) -> str:
    return f" (t {origin.get('t', 0)}, z {origin.get('z', 0)})"

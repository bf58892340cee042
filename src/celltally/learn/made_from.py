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

__all__ = ["UNKNOWN", "MadeFrom", "made_from"]


@dataclass(frozen=True)
class MadeFrom:
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
UNKNOWN = MadeFrom()


def made_from(meta: Mapping[str, Any]) -> dict[str, MadeFrom]:
    """Files that images were exported from, by stem; what does not say so is left out.

    Parameters
    ----------
    meta
        The content of ``dataset.json``.
    """
    said = meta.get("made_from")
    entries = {
        stem: entry
        for stem, entry in (said.items() if isinstance(said, dict) else ())
        if isinstance(entry, dict)
    }
    names = _names({stem: entry for stem, entry in entries.items() if _text(entry, "image")})
    return {
        stem: MadeFrom(names.get(stem, ""), _text(entry, "sha256"))
        for stem, entry in entries.items()
    }


def _names(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    planes = Counter(map(_file, entries.values()))
    found = {
        stem: _text(entry, "image") + (_plane(entry) if planes[_file(entry)] > 1 else "")
        for stem, entry in entries.items()
    }
    alike, told = Counter(found.values()), Counter[str]()
    for stem, name in found.items():
        if alike[name] > 1:
            told[name] += 1
            found[stem] = f"{name} ({told[name]} of {alike[name]} of this name)"
    return found


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _file(entry: Mapping[str, Any]) -> tuple[str, str]:
    return _text(entry, "image"), _text(entry, "sha256")


def _plane(entry: Mapping[str, Any]) -> str:
    return f" (t {entry.get('t', 0)}, z {entry.get('z', 0)})"

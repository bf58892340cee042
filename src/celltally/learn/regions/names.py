"""What images are called by the person who reviewed them.

A project exports its images under names and in formats of its own; ``dataset.json`` says which
file each of them was.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["own_names"]


def own_names(folder: str | Path) -> dict[str, str]:
    """Names of the files that the images of a data set were exported from, by stem.

    Several planes of one file are told apart, as ``stack.tif (t 0, z 3)``, and files of one name
    by their order, as ``field.tif (1 of 2 of this name)``. What was not exported, or does not
    say from what, is left out.

    Parameters
    ----------
    folder
        A data set folder, as ``read_dataset`` takes it.
    """
    path = Path(folder) / "dataset.json"
    meta = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    made_from = meta.get("made_from")
    origins = made_from if isinstance(made_from, dict) else {}
    named = {stem: origin for stem, origin in origins.items() if _name(origin)}
    planes = Counter(map(_file, named.values()))
    found = {
        stem: _name(origin) + (_plane(origin) if planes[_file(origin)] > 1 else "")
        for stem, origin in named.items()
    }
    alike, told = Counter(found.values()), Counter[str]()
    for stem, name in found.items():
        if alike[name] > 1:
            told[name] += 1
            found[stem] = f"{name} ({told[name]} of {alike[name]} of this name)"
    return found


def _name(origin: Any) -> str:
    name = origin.get("image") if isinstance(origin, dict) else None
    return name if isinstance(name, str) else ""


def _file(origin: dict[str, Any]) -> tuple[str, str]:
    return _name(origin), str(origin.get("sha256", ""))


def _plane(origin: dict[str, Any]) -> str:
    return f" (t {origin.get('t', 0)}, z {origin.get('z', 0)})"

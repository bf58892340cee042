"""How dots came about, in a small file beside them."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from celltally import __version__
from celltally.errors import UserError
from celltally.io._files import write_atomically
from celltally.io._json import read_json

__all__ = [
    "Provenance",
    "check_sidecar",
    "read_provenance",
    "remove_sidecar",
    "sidecar_of",
    "write_sidecar",
]

_KIND = "celltally provenance"
_VERSION = 1
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class Provenance:
    """What must be known to make a count again, and to cite it.

    Attributes
    ----------
    image, image_sha256
        File name of the image, and the hash of the file; "" where it is not known.
    pixel_size_um
        ``(y, x)`` in micrometres.
    units
        Of the positions beside it.
    model, model_sha256
        Name and identity of the model.
    diameter_px
        Cell diameter that the image was counted with.
    threshold
        Least score of a dot.
    count, ci_low, ci_high, level, interval_kind
        The count, and its interval.
    author
        Who corrected it.
    version
        Of the program.
    when
        ISO date and time, with its zone.
    """

    image: str = ""
    image_sha256: str = ""
    pixel_size_um: tuple[float, float] | None = None
    units: str = "pixel"
    model: str = ""
    model_sha256: str = ""
    diameter_px: float | None = None
    threshold: float | None = None
    count: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    level: float | None = None
    interval_kind: str = ""
    author: str = ""
    version: str = __version__
    when: str = ""


_TEXTS = {f.name for f in fields(Provenance) if isinstance(f.default, str)}


def sidecar_of(path: str | Path) -> Path:
    """Return where the provenance of a file of dots stands: ``<file>.json``."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


def check_sidecar(path: Path) -> None:
    """Refuse to write a provenance over something else.

    Raises
    ------
    UserError
        When something else stands in its place.
    """
    place = sidecar_of(path)
    if place.exists() and _provenance_in(place) is None:
        raise UserError(
            f"{place} is no provenance of ours and would be written over; choose another name "
            "for the dots"
        )


def write_sidecar(path: Path, provenance: Provenance) -> None:
    """Write the provenance of a file of dots beside it.

    Raises
    ------
    UserError
        When it cannot be written, or something else stands in its place.
    """
    check_sidecar(path)
    found = {name: _finite(value) for name, value in asdict(provenance).items()}
    text = json.dumps({"kind": _KIND, "format": _VERSION, **found}, ensure_ascii=False, indent=2)
    write_atomically(sidecar_of(path), f"{text}\n".encode("utf-8", "replace"))


def remove_sidecar(path: Path) -> None:
    """Remove the provenance of what a file held before."""
    place = sidecar_of(path)
    if place.is_file() and _provenance_in(place) is not None:
        with contextlib.suppress(OSError):
            place.unlink()


def read_provenance(path: str | Path) -> Provenance | None:
    """Read how a file of dots came about, from the file beside it.

    Returns
    -------
    Provenance or None
        None where there is no such file, or it is something else.

    Raises
    ------
    UserError
        When the file beside it is of a newer program, or a value in it is wrong.
    """
    place = sidecar_of(path)
    if not place.is_file():
        return None
    found = _provenance_in(place)
    if found is None:
        return None
    if found.get("format") != _VERSION:
        raise UserError(
            f"{place} is of format {str(found.get('format'))[:20]!r}, which this program does not "
            "know; update celltally"
        )
    known = {f.name for f in fields(Provenance)}
    return Provenance(
        **{name: _checked(place, name, found[name]) for name in known if name in found}
    )


def _provenance_in(place: Path) -> dict[str, Any] | None:
    try:
        found = read_json(place, _MOST_BYTES)
    except UserError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == _KIND else None


def _checked(place: Path, name: str, value: Any) -> Any:
    if name in _TEXTS and isinstance(value, str):
        return value
    if name not in _TEXTS and value is None:
        return None
    if name == "pixel_size_um" and isinstance(value, list) and len(value) == 2:
        return _number(place, name, value[0]), _number(place, name, value[1])
    if name in _TEXTS or name == "pixel_size_um":
        raise UserError(f"{place}: {name} is {str(value)[:40]!r}; correct it")
    return _number(place, name, value)


def _number(place: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{place}: {name} is {str(value)[:40]!r}, which is no number; correct it")
    return float(value)


def _finite(value: Any) -> Any:
    """Return a value as JSON has it, in which there is no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

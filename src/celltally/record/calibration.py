"""``calibration.json`` of a model folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.record.files import CALIBRATION, in_short, sha256_of
from celltally.record.fits import fits
from celltally.types import (
    Appearances,
    Audited,
    Calibration,
    Neighbours,
    RegionBin,
    RegionCalibration,
)

__all__ = ["appearances_of_json", "calibration_json", "calibration_of_json", "read_calibration"]


def read_calibration(folder: Path) -> tuple[Calibration | None, str]:
    """Calibration of a model folder and its sha256; (None, "") where there is none."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None, ""
    data = path.read_bytes()
    try:
        return calibration_of_json(data), sha256_of(data)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({in_short(error)}); copy the model again") from None


def calibration_json(calibration: Calibration) -> bytes:
    """Return a calibration as a model folder keeps it; its sha256 is its hash."""
    return (json.dumps(asdict(calibration), indent=1) + "\n").encode()


def calibration_of_json(data: bytes) -> Calibration:
    """Read what ``calibration_json`` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        When it is something else.
    """
    content = json.loads(data)
    if not fits(content, Calibration):
        raise ValueError("fields are missing, unknown or of another type")
    content["scores"] = tuple(float(s) for s in content["scores"])
    content["sets"] = tuple(content.get("sets", ()))
    ranges = content.get("ranges", {})
    content["ranges"] = {k: (float(v[0]), float(v[1])) for k, v in ranges.items()}
    if (known := content.get("neighbours")) is not None:
        content["neighbours"] = _neighbours(known)
    if (regions := content.get("regions")) is not None:
        content["regions"] = _regions(regions)
    if (audits := content.get("audits")) is not None:
        content["audits"] = Audited(**audits)
    if (known := content.get("appearances")) is not None:
        content["appearances"] = appearances_of_json(known)
    return Calibration(**content)


def _neighbours(content: dict[str, Any]) -> Neighbours:
    known = Neighbours(
        names=tuple(content["names"]),
        least=tuple(content["least"]),
        points=tuple(tuple(point) for point in content["points"]),
        surprise=tuple(content["surprise"]),
    )
    of_look = len(known.least) - 2  # the last two are no figures of the appearance
    if {len(point) for point in known.points} != {len(known.least)} or of_look != len(known.names):
        raise ValueError("neighbours have other numbers of figures than least differences")
    if len(known.points) != len(known.surprise):
        raise ValueError("there are other numbers of neighbours than of surprises")
    return known


def appearances_of_json(content: dict[str, Any]) -> Appearances:
    """Read what images look like from what JSON holds.

    Raises
    ------
    ValueError, KeyError, TypeError
        When it is something else.
    """
    known = Appearances(
        names=tuple(content["names"]),
        least=tuple(content["least"]),
        points=tuple(tuple(point) for point in content["points"]),
        groups=tuple(content["groups"]),
    )
    if not known.points or {len(point) for point in known.points} != {len(known.names)}:
        raise ValueError("images are known by other numbers of figures than there are names")
    if len(known.least) != len(known.names) or len(known.groups) != len(known.points):
        raise ValueError("appearances have columns of other lengths")
    return known


def _regions(content: dict[str, Any]) -> RegionCalibration:
    bins = tuple(RegionBin(**b | {"scores": tuple(b["scores"])}) for b in content["bins"])
    if not bins or bins[0].low > 0 or any(not b.scores for b in bins):
        raise ValueError("bins of regions have no scores or do not begin at 0")
    return RegionCalibration(**content | {"bins": bins})

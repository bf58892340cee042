"""What a format cannot hold of some dots, in words."""

from __future__ import annotations

import numpy as np

from celltally.io.dots._format import DotFormat
from celltally.types import Dots

__all__ = ["losses"]

#: Pixels below which rounding is not worth a word: it is beyond what any model can tell.
_UNSEEN = 1e-3


def losses(dots: Dots, known: DotFormat) -> list[str]:
    """Return a sentence for everything that writing ``dots`` in a format would lose."""
    keeps, files = known.keeps, f"{known.title} files"
    lost = []
    removed = int((dots.state == "removed").sum())
    if removed and not keeps.removed:
        lost.append(f"In {files} removed dots would count: {removed} {_are(removed)} left out.")
        dots = dots[dots.state != "removed"]
    if not len(dots):
        return lost
    lost += _places(dots, known)
    if not keeps.t and dots.t.any():
        lost.append(f"{files} have no time: the time points of dots are not kept.")
    if not keeps.z and dots.z.any():
        lost.append(f"{files} have no planes: the z of dots is not kept.")
    if not keeps.label and (dots.label != "cell").any():
        lost.append(f"{files} have no classes: they are not kept.")
    if not keeps.score and np.isfinite(dots.score).any():
        lost.append(f"{files} have no scores: they are not kept.")
    if not keeps.state and (dots.state != "proposed").any():
        lost.append(f"{files} have no states: what was confirmed, added or moved is not kept.")
    if not keeps.source and (dots.source != "").any():
        lost.append(f"{files} do not say who or which model made a dot: that is not kept.")
    if not keeps.id:
        lost.append(f"{files} have no ids: they are not kept.")
    return lost + known.also_lost(dots)


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _places(dots: Dots, known: DotFormat) -> list[str]:
    if known.keeps.place == "pixels" and (dots.yx != np.rint(dots.yx)).any():
        return [f"{known.title} files keep whole pixels only: positions are rounded."]
    if known.keeps.place == "single":
        worst = float(np.abs(dots.yx - dots.yx.astype(np.float32)).max())
        if worst > _UNSEEN:
            return [
                f"{known.title} files keep single precision: positions are rounded by up to "
                f"{worst:.2g} px."
            ]
    return []

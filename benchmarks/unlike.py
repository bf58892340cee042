r"""How well images that a model knows nothing like are told from those like its own.

    python benchmarks/unlike.py --data D --out build/unlike --docs docs/calibration.md

What a model would know that was made with the `train` of one set looks at the `val` of all
sets, and at photographs that come with scikit-image; so does one of every set together, and of
those of `--known`. (A shipped model would know some of `val`, which chose its weights.) No
network runs: what images look like is all that is compared. Each is looked at with the cell
diameter that its set states and with the estimated one, as users count with either.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from errors_lib.command import names_in, new_parser, publish, run, say
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from skimage import data

from celltally.appearance import APPEARANCE, appearance
from celltally.diameter import diameter_of
from celltally.errors import UserError
from celltally.intervals import known_appearances, likeness_score
from celltally.intervals.likeness import UNLIKE
from celltally.learn.data import read_dataset
from celltally.learn.looks import Look, iter_looks
from celltally.preprocess import normalise
from celltally.progress import drain
from celltally.types import Appearances

#: Those of scikit-image's photographs that it brings along.
PHOTOGRAPHS = ("astronaut", "camera", "cat", "coffee", "coins", "moon", "page", "rocket", "text")
#: What photographs are called among the sets.
OTHER = "photographs"

#: What each image of a set looks like.
Looks = Sequence[Mapping[str, float]]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write everything; 2 for what cannot be used, 130 when stopped."""
    parser = new_parser(__doc__, Path("build/unlike"))
    text = "sets that a model knows together, joined by commas; several times"
    parser.add_argument("--known", action="append", default=[], metavar="SETS", help=text)
    return run(_write, parser, words)


def _write(arguments: argparse.Namespace) -> None:
    names = sorted(path.parent.name for path in arguments.data.glob("*/val"))
    if not names:
        raise UserError(f"{arguments.data} holds no set with a folder 'val'; give another")
    groups = [*([name] for name in names), *map(names_in, arguments.known), names]
    if unknown := [name for group in groups for name in group if name not in names]:
        raise UserError(f"{arguments.data} holds no set {unknown[0]!r}; there are {names}")
    taught, judged = (
        {name: _look(arguments.data / name / part) for name in names} for part in ("train", "val")
    )
    shown = {name: [look.appearance for look in looks] for name, looks in judged.items()}
    shown[OTHER] = _photographs()
    table = pd.DataFrame(row for group in groups for row in _judge(group, taught, shown))
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "unlike.csv", index=False)
    publish({"table": markdown(table)}, arguments.docs, "unlike")


def _look(folder: Path) -> list[Look]:
    dataset = read_dataset(folder)
    say(f"{folder}: {len(dataset.samples)} images")
    return drain(iter_looks([(dataset, sample) for sample in dataset.samples]))


def _judge(
    own: Sequence[str], taught: Mapping[str, Sequence[Look]], shown: Mapping[str, Looks]
) -> list[dict[str, object]]:
    """Give a row per set: how its images look to a model that was taught by its own sets."""
    looks = [look for name in own for look in taught[name]]
    known = known_appearances(
        [look.appearance for look in looks], [look.group for look in looks], APPEARANCE
    )
    assert known is not None
    scores = {name: _scores(known, images) for name, images in shown.items()}
    like = np.concatenate([scores[name] for name in own])
    return [
        {
            "known": ", ".join(own),
            "set": name,
            "own": name in own,
            "looks": len(found),
            "unlike": float((found < UNLIKE).mean()),
            "auroc": math.nan if name in own else auroc(like, found),
        }
        for name, found in scores.items()
    ]


def _scores(known: Appearances, images: Looks) -> NDArray[np.float64]:
    return np.array([likeness_score(known, one) for one in images])


def auroc(like: NDArray[np.float64], unlike: NDArray[np.float64]) -> float:
    """How often a like image scores higher than an unlike one, ties halved."""
    return float(mannwhitneyu(like, unlike).statistic / (len(like) * len(unlike)))


def _photographs() -> Looks:
    """Look at photographs of no cells at all, with the diameter that is estimated."""
    looks = []
    for name in PHOTOGRAPHS:
        values, _ = normalise(np.asarray(getattr(data, name)()))
        diameter = diameter_of(values)
        if diameter is not None:
            looks.append(appearance(values, diameter))
    return looks


def markdown(table: pd.DataFrame) -> str:
    """Lay out a line per model: own images taken for unlike, and how others are told from them."""
    lines = ["| known | own images called unlike | AUROC against others | others called unlike |"]
    lines.append("|---|---|---|---|")
    for known, rows in table.groupby("known", sort=False):
        own, other = rows[rows["own"]], rows[~rows["own"]]
        flagged = round(float((own["unlike"] * own["looks"]).sum()))
        cells = (
            str(known) if len(other) > 1 else "all",
            f"{flagged} of {own['looks'].sum()}",
            _but_for({r.set: f"{r.auroc:.3f}" for r in other.itertuples()}, "1.000"),
            _but_for({r.set: f"{100 * r.unlike:.0f} %" for r in other.itertuples()}, "100 %"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _but_for(figures: Mapping[str, str], best: str) -> str:
    """Name the sets whose figure is not the best one."""
    named = [f"{name} {figure}" for name, figure in figures.items() if figure != best]
    rest = [] if len(named) == len(figures) else [f"{'the others ' if named else ''}{best}"]
    return ", ".join([*named, *rest])


if __name__ == "__main__":
    sys.exit(main())

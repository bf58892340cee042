r"""How many corrected regions a model needs to count what it has never seen.

    python benchmarks/human_in_the_loop.py DATA --target mbm --start nuclei-fluorescence \
        [--regions 2,3,5,10] [--orders random,suggested] [--labels dots,stated] [--seeds 2]
        [--steps 100] [--images 24] [--side 256] [--keep SET …] [--out loop.csv]
        [--share 0.5] [--audits 24] [--in-turn] [--from-nothing MINUTES] [--specialist MODEL]
        [--pool FOLDER]

``DATA`` holds data set folders with the parts ``train`` and ``val``. A simulated biologist reviews
tiles of half of the target's ``train`` with its true dots; the model learns from them once, from
the start, with its usual settings; whole images of the other half and of ``val`` are the test.
``--audits`` reviews a random tile of each of at most so many other images, which only judge, and
from which the child has its intervals. ``--in-turn`` learns round after round, each from the child
before; ``--from-nothing`` trains new models of the same regions, from chance.

``--keep`` names sets on whose ``val`` the model is counted before and after. ``--pool`` writes the
images that are reviewed, as a data set folder, for a specialist to be trained on all of them;
``--specialist`` counts it on the same test. A seed draws the random order, and all chance of the
learning, and, with ``--share``, which of the images there are to be reviewed: what is suggested of
the same images is the same, and one suggestion is one draw. Rows are added to the CSV as they are
found; ``--plot`` draws it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from celltally import zoo
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, read_dataset
from celltally.learn.suggest import Candidate, iter_candidates, suggest, tiles
from celltally.model import Model
from celltally.progress import drain

sys.path.insert(0, str(Path(__file__).parent))
from loop_lib.biologist import Biologist, Tile, write_dataset
from loop_lib.figures import draw, table
from loop_lib.rounds import count_all, learn_from, new_from, score

FIELDS = (
    "target", "start", "order", "labels", "share", "seed", "regions", "cells", "corrected", "n",
    "mae", "bias", "mean_count", "with_interval", "covered", "mean_width", "kind", "audits",
    "by_base", "helped", "seconds", "steps", "kept_before", "kept_after",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Images to review, and images to be tested on."""

    dataset: Dataset
    pool: Sequence[Sample]
    test: Sequence[Sample]

    @classmethod
    def read(cls, folder: Path, most: int) -> Target:
        """Divide a data set: half of its ``train`` is reviewed, the rest tests."""
        train, val = read_dataset(folder / "train"), read_dataset(folder / "val")
        order = np.random.default_rng(1).permutation(len(train.samples))
        half = len(order) // 2
        rest = [train.samples[i] for i in order[half:]]
        return cls(
            train,
            [train.samples[i] for i in order[:half][:most]],
            [*val.samples, *rest][:most],
        )

    def drawn(self, share: float, seed: int) -> Target:
        """Leave of the images to review only a share, at least four, by chance."""
        number = max(round(share * len(self.pool)), min(4, len(self.pool)))
        order = np.random.default_rng(seed).permutation(len(self.pool))[:number]
        return replace(self, pool=[self.pool[i] for i in sorted(order)])

    def pixels(self, sample: Sample) -> Any:
        """Read an image."""
        return select_pixels(read_image(sample.image), channel=self.dataset.channel)


def candidates_of(model: Model, target: Target, side: float) -> list[Candidate]:
    """Look at all tiles of the images to review."""
    found: list[Candidate] = []
    for sample in target.pool:
        found += drain(
            iter_candidates(
                model, target.pixels(sample), image=sample.stem, side_px=side,
                diameter_px=target.dataset.diameter_px,
            )
        )  # fmt: skip
    return found


def in_random_order(target: Target, side: float, seed: int) -> list[Tile]:
    """All tiles of all images, in an order of chance."""
    found = [
        Tile(sample.stem, window)
        for sample in target.pool
        for window in tiles(target.pixels(sample).shape[:2], side)
    ]
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def in_suggested_order(target: Target, candidates: Sequence[Candidate], most: int) -> list[Tile]:
    """Tiles of a target's images as they are suggested."""
    there = {sample.stem for sample in target.pool}
    chosen = suggest([one for one in candidates if one.image in there], most)
    return [Tile(one.image, one.window) for one in chosen]


def to_audit(
    target: Target, tiles: Sequence[Tile], number: int, side: float, seed: int
) -> list[Tile]:
    """Draw a tile of each of at most so many images, of groups that teach nothing."""
    if not number:
        return []
    groups = {sample.stem: sample.group for sample in target.pool}
    taken = {groups[tile.stem] for tile in tiles}
    free: dict[str, Tile] = {}
    for tile in in_random_order(target, side, seed + 1000):
        if groups[tile.stem] not in taken:
            free.setdefault(tile.stem, tile)
    return list(free.values())[:number]


def rows_of(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Review, learn and test, a row each."""
    target = Target.read(arguments.data / arguments.target, arguments.images)
    keep = [read_dataset(arguments.data / name / "val") for name in arguments.keep]
    if arguments.pool is not None:
        write_dataset(target.dataset, target.pool, arguments.pool)
    if arguments.specialist:
        model = zoo.load(arguments.specialist)
        yield {
            "target": arguments.target, "start": Path(arguments.specialist).name,
            "order": "specialist", "labels": "", "seed": "", "regions": "",
            **score(model, target.dataset, target.test).row(),
        }  # fmt: skip
    if arguments.from_nothing:
        for seed in range(arguments.seeds):
            line = in_random_order(target.drawn(arguments.share, seed), arguments.side, seed)
            for number in arguments.regions:
                biologist = Biologist(target.dataset, target.pool, None)
                made, seconds, (cells, _) = new_from(
                    biologist, line[:number], minutes=arguments.from_nothing, seed=seed
                )
                yield {
                    "target": arguments.target, "start": "nothing", "order": "random",
                    "labels": "dots", "share": arguments.share, "seed": seed,
                    "regions": number, "cells": cells,
                    **score(made.model, target.dataset, target.test).row(),
                    "seconds": round(seconds, 1), "steps": made.model.record.training["steps"],
                }  # fmt: skip
    for start in arguments.start:
        model = zoo.load(start)
        named = {"target": arguments.target, "start": Path(start).name}
        before = count_all(model, keep)
        yield named | {
            "order": "", "labels": "", "seed": "", "regions": 0,
            **score(model, target.dataset, target.test).row(),
        }  # fmt: skip
        looked_at = (
            candidates_of(model, target, arguments.side) if "suggested" in arguments.orders else []
        )
        for order, seed, labels in product(
            arguments.orders, range(arguments.seeds), arguments.labels
        ):
            drawn = target.drawn(arguments.share, seed)
            most = max(arguments.regions)
            line = (
                in_suggested_order(drawn, looked_at, most)
                if order == "suggested"
                else in_random_order(drawn, arguments.side, seed)
            )
            taught = model
            for number in arguments.regions:
                reviewed = line[:number]
                audits = to_audit(target, reviewed, arguments.audits, arguments.side, seed)
                made, seconds, (cells, corrected) = learn_from(
                    Biologist(target.dataset, target.pool, taught),
                    reviewed,
                    stated=labels == "stated",
                    audits=audits,
                    seed=seed,
                    steps=arguments.steps,
                )
                taught = made.model if arguments.in_turn else model
                after = count_all(made.model, keep)
                calibration = made.model.calibration
                yield named | {
                    "order": order + ", in turn" * arguments.in_turn,
                    "labels": labels, "share": arguments.share, "seed": seed,
                    "regions": number, "cells": cells,
                    "corrected": corrected, "audits": len(audits),
                    "kind": "" if calibration is None else calibration.kind,
                    **score(made.model, target.dataset, target.test).row(),
                    "helped": made.helped, "seconds": round(seconds, 1),
                    "steps": made.model.record.training["steps"],
                    "kept_before": _told(before), "kept_after": _told(after),
                }  # fmt: skip


def _told(errors: dict[str, float]) -> str:
    return "; ".join(f"{name} {error:.2f}" for name, error in errors.items())


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main() -> None:
    """Measure, or draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--target", default="")
    parser.add_argument("--start", action="append", default=[])
    parser.add_argument("--specialist", default="")
    parser.add_argument("--pool", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--audits", type=int, default=0)
    parser.add_argument("--in-turn", action="store_true")
    parser.add_argument("--from-nothing", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument(
        "--regions", type=lambda t: [int(n) for n in _words(t)], default=[2, 3, 5, 10]
    )
    parser.add_argument("--orders", type=_words, default=["random", "suggested"])
    parser.add_argument("--labels", type=_words, default=["dots"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="0: as long as usually")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=float, default=256.0)
    parser.add_argument("--keep", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("loop.csv"))
    parser.add_argument("--plot", type=Path, help="draw DATA, a CSV, into this PNG, and print it")
    arguments = parser.parse_args()
    if arguments.plot is not None:
        draw(arguments.data, arguments.plot)
        print(table(arguments.data))
        return
    if unknown := set(arguments.orders) - {"random", "suggested"}:
        parser.error(f"unknown order {sorted(unknown)[0]!r}; give random or suggested")
    fresh = not arguments.out.exists()
    if not fresh and arguments.out.read_text(encoding="utf-8").splitlines()[:1] != [
        ",".join(FIELDS)
    ]:
        parser.error(f"{arguments.out} has other columns; write into a new file")
    with arguments.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        if fresh:
            writer.writeheader()
        for row in rows_of(arguments):
            writer.writerow({k: _short(v) for k, v in row.items()})
            file.flush()
            print({k: _short(v) for k, v in row.items() if k in FIELDS[1:12]}, flush=True)


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()

r"""Where a model's counting errors are, in tables and pictures.

    python benchmarks/errors.py --data D --models general,mbm=path/to/model \
        --split val --out build/errors --docs docs/errors.md

A set is a folder of D with the data set folder `val`. The model of `--models` that stands
by itself counts every set but those that have one of their own (`set=model`). What was
counted is kept in `--out`, by model, image and diameter, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from errors_lib import tables
from errors_lib.command import names_in, new_parser, publish, run, say
from errors_lib.counted import Counted, Counter
from errors_lib.pictures import draw_diameter, draw_worst
from errors_lib.study import FACTORS, blank_fields, even, read_pixels, study

from celltally import zoo
from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample, read_dataset, sample_count, sample_dots

#: Images of a set that are counted with wrong diameters.
DIAMETER_IMAGES = 10
#: Images of a set that are named, and shown where they may be, as the worst.
WORST_IMAGES = 3


@dataclass(frozen=True)
class Part:
    """The part of a set that is counted, and what counts it.

    Attributes
    ----------
    name
        Of the set's folder.
    dataset, counter
        What is counted, with which model.
    diameter_px
        Cell diameter; None for estimates.
    """

    name: str
    dataset: Dataset
    counter: Counter
    diameter_px: float | None

    def count(self, sample: Sample) -> Counted:
        """Count an image."""
        return self.counter.count(read_pixels(self.dataset, sample), self.diameter_px)

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row per image, as of ``study``."""
        say(f"{self.name}: {len(self.dataset.samples)} images with {self.counter.record.name}")
        rows = [study(self.dataset, s, self.count(s)) for s in self.dataset.samples]
        return pd.DataFrame(rows).assign(set=self.name)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """True and found numbers of a few images, counted with wrong diameters."""
        samples = even(self.dataset.samples, DIAMETER_IMAGES)
        say(f"{self.name}: {len(samples)} images with {len(FACTORS)} diameters")
        rows = []
        for sample in samples:
            pixels, true = read_pixels(self.dataset, sample), sample_count(sample)
            right = self.count(sample).diameter_px
            for factor in FACTORS:
                # As it was given, so that the right one is not counted again.
                given = self.diameter_px if factor == 1 else factor * right
                count = self.counter.count(pixels, given).count
                rows.append({"factor": factor, "true": true, "count": count})
        return pd.DataFrame(rows).assign(set=self.name)

    @property
    def worst(self) -> pd.DataFrame:
        """The images with the largest relative errors, the worst first."""
        return self.images.sort_values("relative", ascending=False, kind="stable")[:WORST_IMAGES]


def main(words: Sequence[str] | None = None) -> int:
    """Count what is missing and write everything; 2 for what cannot be used, 130 when stopped."""
    return run(lambda given: _write(_parts(given), given.out, given.docs), _parser(), words)


def _write(parts: Sequence[Part], out: Path, docs: Path | None) -> None:
    """Write the table of images, the pictures, and the document's texts between its marks."""
    images = pd.concat([part.images for part in parts], ignore_index=True)
    images.to_csv(out / "images.csv", index=False)
    errors = tables.diameter_errors(pd.concat([part.trials for part in parts]))
    blank = {
        counter.label: {
            name: counter.count(pixels, counter.record.diameter_px).count
            for name, pixels in blank_fields().items()
        }
        for counter in dict.fromkeys(part.counter for part in parts)
    }
    top = out if docs is None else docs.parent
    draw_diameter(errors, top / "images" / "errors" / "diameter.png")
    worst = tables.worst_table(pd.concat([part.worst for part in parts]))
    texts = {
        "models": "; ".join(_models(parts)) + ".\n",
        "images": tables.by_image(images),
        "places": tables.by_place(images),
        "dots": tables.dot_table(images),
        "blank": tables.blank_table(blank),
        "diameters": "![Errors against the factor by which the diameter is wrong, a panel per set]"
        f"(images/errors/diameter.png)\n\n{tables.diameter_table(errors)}",
        "worst": "\n".join([worst, *(line for part in parts for line in _pictures(part, top))]),
    }
    publish(texts, docs, "errors")


def _models(parts: Sequence[Part]) -> Iterator[str]:
    """Tell which model counted which sets."""
    for counter in dict.fromkeys(part.counter for part in parts):
        sets = ", ".join(part.name for part in parts if part.counter is counter)
        yield f"{counter.label} counted {sets}"


def _pictures(part: Part, top: Path) -> Iterator[str]:
    """Draw the worst images of a set whose pixels may be shown; yields the links."""
    if not part.dataset.is_cc0:
        return
    samples = {sample.image.name: sample for sample in part.dataset.samples}
    for i, row in enumerate(part.worst.itertuples(), start=1):
        sample = samples[str(row.image)]
        short = sample.stem if len(sample.stem) <= 24 else f"{sample.stem[:23]}…"
        caption = f"{part.name}, {short}: counted {row.count:.1f}, true {row.true:g}"
        counted = part.count(sample)
        link = f"images/errors/worst-{part.name}-{i}.png"
        draw_worst(
            read_pixels(part.dataset, sample),
            counted,
            None if sample.dots is None else sample_dots(sample).yx,
            caption,
            (part.dataset.diameter_px or counted.diameter_px) / 2,
            top / link,
        )
        yield f"![{caption}]({link})\n"


def _parts(arguments: argparse.Namespace) -> list[Part]:
    """All sets that are asked for, each with its model.

    Raises
    ------
    UserError
        For arguments that cannot be used, before anything is counted.
    """
    data, split = arguments.data, arguments.split
    names = names_in(arguments.sets) or sorted(p.parts[-3] for p in data.glob(f"*/{split}/images"))
    if not names:
        raise UserError(f"no folder in {data} has a part {split!r}; give another --data or --split")
    given = [word.rpartition("=") for word in names_in(arguments.models)]
    if [name for name, _, _ in given].count("") != 1:
        raise UserError(
            f"--models {arguments.models} must name one model without a set, and further ones as "
            "set=model"
        )
    models = {name: model for name, _, model in given}
    if unknown := sorted(set(models) - {"", *names}):
        raise UserError(
            f"--models names a model for {unknown[0]!r}, which is not counted; choose among "
            f"{', '.join(names)}"
        )
    counters = {
        model: Counter(zoo.find(model), arguments.out / "counted", arguments.device)
        for model in models.values()
    }
    parts = []
    for name in names:
        dataset = read_dataset(data / name / split)
        diameter = None if arguments.diameter == "auto" else dataset.diameter_px
        parts.append(Part(name, dataset, counters[models.get(name, models[""])], diameter))
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__, Path("build/errors"))
    add = parser.add_argument
    add("--sets", default="", help="folders in D; without, all that have the split")
    add("--split", default="val", help="part of each set that is counted")
    add("--models", default=zoo.DEFAULT_MODEL,
        help="name or folder of a model, and set=model for sets with one of their own")  # fmt: skip
    add("--diameter", choices=("set", "auto"), default="set",
        help="the set's cell diameter (estimated where it states none), or estimates")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())

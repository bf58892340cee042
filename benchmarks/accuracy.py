r"""Accuracy of models, networks and baselines on data sets, in one table.

    python benchmarks/accuracy.py --data D --sets vgg,mbm --models general,path/to/model \
        --networks tally --minutes 10 --seeds 0,1 --baselines maxima,watershed \
        --split val --out build/accuracy --docs docs/benchmarks.md

A set is a folder of D with the data set folders `train` and `val`. Models count as they
are; networks and baselines learn on the set's `train` alone. Every finished row is kept in
`--out` and not measured again until its weights, data, seed or budget change; networks are
not trained twice. The tables and plots show all rows of `--out`, so without models,
networks and baselines they are only written anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from accuracy_lib.protocols import PROTOCOLS, prepare
from accuracy_lib.store import Store
from accuracy_lib.systems import (
    MEAN,
    TRAIN,
    Baseline,
    GivenModel,
    Job,
    MeanCount,
    Network,
    System,
)
from accuracy_lib.tables import NAME, markdown, replace_between_marks, write_tables

from celltally import zoo
from celltally.errors import UserError
from celltally.evaluate.baselines import BASELINES, TUNING_IMAGES
from celltally.learn.data import read_dataset
from celltally.progress import drain
from celltally.types import Progress

#: Seconds between two lines about a long job.
QUIET_SECONDS = 30.0


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is missing and write the tables; 1 when a row failed, 2 for wrong arguments."""
    arguments = _parser().parse_args(words)
    try:
        jobs, store = _jobs(arguments), Store(arguments.out)
        failed, stopped = 0, False
        try:
            for job in jobs:
                failed += not _finish(job, store)
        except KeyboardInterrupt:
            stopped = True
            _say("Stopped; the finished rows are kept, and the same command goes on from here.")
        for note in write_tables(store, arguments.out):
            _say(note)
        table = markdown(store.rows())
        print(table, end="")
        if arguments.docs is not None:
            replace_between_marks(arguments.docs, table, arguments.table)
    except UserError as error:
        _say(f"Error: {error}")
        return 2
    return 130 if stopped else int(failed > 0)


def _finish(job: Job, store: Store) -> bool:
    """Measure a row if it is missing; False when that fails."""
    try:
        if store.has(job.slug):
            _say(f"{job.title}: is there already")
            return True
        measured = drain(job.measure(), _Teller(job.title))
    except UserError as error:
        _say(f"Error: {job.title}: {error}")
        return False
    store.put(job.slug, measured)
    figures = measured.figures
    _say(f"{job.title}: MAE {figures['mae']:.3g} on {figures['n']} images")
    for message in measured.per_image["message"][measured.per_image["status"] != "ok"]:
        _say(f"Error: {message}")
    return not figures["failed"]


class _Teller:
    """Says now and then how far a long job is."""

    def __init__(self, title: str) -> None:
        self.title, self.spoken = title, time.monotonic()

    def __call__(self, step: Progress) -> None:
        now = time.monotonic()
        if now - self.spoken >= QUIET_SECONDS and step.message:
            self.spoken = now
            of = f" of {step.total}" if step.total else ""
            _say(f"{self.title}: {step.message} ({step.done}{of})")


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """All rows that are asked for, set by set.

    Raises
    ------
    UserError
        For arguments that cannot be used, before anything is measured.
    """
    systems = _systems(arguments)
    if not systems:
        return []
    if arguments.data is None:
        raise UserError("there is nothing to count: give --data, the folder of the sets")
    seeds = [_whole(seed) for seed in _names(arguments.seeds)]
    sets = _names(arguments.sets) or _sets_of(arguments.data, arguments.split)
    learn = any(system.learns for system in systems)
    parts = [arguments.split, *([TRAIN] if learn else [])]
    jobs = []
    for name in sets:
        folder = arguments.data / name
        for part in parts:
            read_dataset(folder / part)
        if arguments.protocol:
            folder = prepare(arguments.protocol, folder, parts, arguments.out / "protocols")
        jobs += [
            Job(
                system=system,
                folder=folder,
                split=arguments.split,
                seed=seed,
                diameter="auto" if arguments.diameter == "auto" else None,
                device=arguments.device,
                out=arguments.out,
                as_is=bool(arguments.protocol),
            )
            for system in systems
            for seed in (seeds if system.learns else [None])
        ]
    return jobs


def _systems(arguments: argparse.Namespace) -> list[System]:
    models = [GivenModel(zoo.find(name)) for name in _names(arguments.models)]
    labels = [model.label for model in models]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"two models are called {twice[0]}; rename the folder of one")
    networks, trained = _names(arguments.networks), []
    if networks:
        from celltally.learn.fit import Budget
        from celltally.networks import build

        if None not in (arguments.minutes, arguments.cpu_minutes):
            raise UserError("--minutes and --cpu-minutes cannot be given together; leave one out")
        Budget(arguments.steps, arguments.minutes or arguments.cpu_minutes)
        trained = [_network(text, arguments) for text in networks]
        for network in trained:
            build(network.name, network.config)
    baselines = _names(arguments.baselines)
    known = [*BASELINES, MEAN]
    if unknown := sorted(set(baselines) - set(known)):
        raise UserError(f"there is no baseline {unknown[0]!r}; choose among {', '.join(known)}")
    if arguments.tuning_images < 1:
        raise UserError(f"--tuning-images {arguments.tuning_images} is too few; give at least 1")
    return [
        *models,
        *trained,
        *(
            MeanCount() if name == MEAN else Baseline(name, arguments.tuning_images)
            for name in baselines
        ),
    ]


def _network(text: str, arguments: argparse.Namespace) -> Network:
    """Read a network with its settings, ``csrnet:width=0.5:pretrained=true``."""
    from celltally.networks import parse_settings

    name, *settings = text.split(":")
    config = parse_settings(settings)
    minutes = arguments.cpu_minutes or arguments.minutes
    return Network(name, arguments.steps, minutes, config, arguments.cpu_minutes is not None)


def _sets_of(data: Path, split: str) -> list[str]:
    if not data.is_dir():
        raise UserError(f"{data} is no folder; give the one that holds the sets")
    sets = sorted(path.name for path in data.iterdir() if (path / split / "images").is_dir())
    if not sets:
        raise UserError(f"no folder in {data} has a part {split!r}; give another --data or --split")
    return sets


def _names(text: str) -> list[str]:
    """Split at commas; each name once."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"the seed {text!r} is no whole number; give such as 0,1,2") from None


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="D", help="folder of the sets")
    add("--sets", default="", help="folders in D; without, all that have the split")
    add("--split", default="val", help="part of each set that is counted")
    add("--models", default="", help="names or folders of models")
    add("--networks", default="",
        help="networks to be trained for each set by itself, such as csrnet:width=0.5")  # fmt: skip
    add("--protocol", default="",
        help=f"prepare the sets as a paper did, one of {', '.join(PROTOCOLS)}")  # fmt: skip
    add("--steps", type=int, help="budget of a training")
    add("--minutes", type=float, help="budget of a training, instead of --steps")
    add("--cpu-minutes", type=float,
        help="the same in minutes of processor time, all threads together")  # fmt: skip
    add("--baselines", default="", help=f"among {', '.join([*BASELINES, MEAN])}")
    add("--tuning-images", type=int, default=TUNING_IMAGES, metavar="N",
        help="at most so many images of train tune a baseline")  # fmt: skip
    add("--seeds", default="0", help="of trainings and of the images that tune baselines")
    add("--diameter", choices=("set", "auto"), default="set",
        help="the set's cell diameter (estimated where it states none), or estimates")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, cuda, cuda:0 or mps")
    add("--out", type=Path, default=Path("build/accuracy"), metavar="DIR")
    add("--docs", type=Path, metavar="FILE", help="document whose table is replaced")
    add("--table", default=NAME, help="name in the marks around that table")
    return parser


if __name__ == "__main__":
    sys.exit(main())

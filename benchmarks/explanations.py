r"""How good explanations are, and what the losses of the prototypes are good for.

    python benchmarks/explanations.py --data D --models vgg=bacteria-fluorescence \
        --networks tally,countxplain:width=0.5 --sets bbbc039 --cpu-minutes 4 --seeds 0 \
        --out build/explanations --docs docs/explanations.md

A set is a folder of D with the data set folders `train` and `val`; `val` is what is
measured. Given models (`set=model`) are judged as they are. Every network learns on `train`
alone, four times: with all losses, without the diversity loss, without the
prototype-to-feature loss, and without both. With `--counters` the prototypes alone learn,
on the features of a given `countxplain`, which stay as they are. Finished rows are kept in
`--out`, and networks are not trained twice, so that a stopped run goes on where it was. The
tables show all rows of `--out`; with nothing to measure they are only written anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from accuracy_lib.store import Store
from accuracy_lib.systems import GivenModel, Job, System
from accuracy_lib.tables import replace_between_marks
from explanations_lib import tables
from explanations_lib.frozen import FrozenVariant
from explanations_lib.variants import VARIANTS, Explained, Variant

from celltally import zoo
from celltally.errors import UserError
from celltally.learn.data import read_dataset
from celltally.networks import parse_settings
from celltally.progress import drain


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is missing and write the tables; 1 when a row failed, 2 for wrong arguments."""
    arguments = _parser().parse_args(words)
    failed = 0
    try:
        jobs, store = _jobs(arguments), Store(arguments.out)
        for job in jobs:
            failed += not _finish(job, store)
        texts = {
            tables.MODELS: tables.models(store.rows()),
            tables.ABLATION: tables.ablation(store.rows()),
        }
        for name, text in texts.items():
            print(text)
            if arguments.docs is not None:
                replace_between_marks(arguments.docs, text, name)
    except UserError as error:
        _say(f"Error: {error}")
        return 2
    except KeyboardInterrupt:
        _say("Stopped; the finished rows are kept, and the same command goes on from here.")
        return 130
    return int(failed > 0)


def _finish(job: Job, store: Store) -> bool:
    """Measure a row if it is missing; False when that fails."""
    if store.has(job.slug):
        _say(f"{job.title}: is there already")
        return True
    try:
        measured = drain(job.measure())
    except UserError as error:
        _say(f"Error: {job.title}: {error}")
        return False
    store.put(job.slug, measured)
    _say(f"{job.title}: MAE {measured.figures['mae']:.3g} on {measured.figures['n']} images")
    return not measured.figures["failed"]


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """All rows that are asked for.

    Raises
    ------
    UserError
        For arguments that cannot be used, before anything is measured.
    """
    asked: list[tuple[str, System, int | None]] = []
    for text in _names(arguments.models):
        name, equals, model = text.partition("=")
        if not equals:
            raise UserError(f"the model {text!r} has no set; give set=model, such as vgg={text}")
        asked.append((name, Explained(GivenModel(zoo.find(model))), None))
    for text in _names(arguments.counters):
        name, equals, model = text.partition("=")
        if not equals:
            raise UserError(f"the model {text!r} has no set; give set=model")
        model, *settings = model.split(":")
        config, counter = parse_settings(settings), GivenModel(zoo.find(model))
        if counter.record.network != "countxplain":
            raise UserError(f"{model!r} is a {counter.record.network!r}; give a 'countxplain'")
        asked += [
            (name, FrozenVariant(losses, counter, arguments.steps, config), seed)
            for losses in VARIANTS
            for seed in map(int, _names(arguments.seeds))
        ]
    sets, networks = _names(arguments.sets), _names(arguments.networks)
    if networks and not sets:
        raise UserError("the networks have nothing to learn from: give --sets")
    for name in sets:
        for text in networks:
            family, *settings = text.split(":")
            asked += [
                (name, Variant.of(family, parse_settings(settings), losses, arguments.cpu_minutes),
                 seed)
                for losses in VARIANTS
                for seed in map(int, _names(arguments.seeds))
            ]  # fmt: skip
    if asked and arguments.data is None:
        raise UserError("there is nothing to count: give --data, the folder of the sets")
    jobs = []
    for name, system, seed in asked:
        for part in ("train", arguments.split) if system.learns else (arguments.split,):
            read_dataset(arguments.data / name / part)
        jobs.append(
            Job(
                system=system, folder=arguments.data / name, split=arguments.split, seed=seed,
                diameter=None, device=arguments.device, out=arguments.out,
            )
        )  # fmt: skip
    return jobs


def _names(text: str) -> list[str]:
    """Split at commas; each name once."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="D", help="folder of the sets")
    add("--models", default="", help="given models, each for a set: set=model")
    add("--sets", default="", help="folders in D that the networks learn from")
    add("--networks", default="", help="networks with prototypes, such as countxplain:width=0.5")
    add("--cpu-minutes", type=float, default=4.0,
        help="budget of a training in minutes of processor time")  # fmt: skip
    add("--counters", default="",
        help="models of countxplain whose prototypes are learned anew, with settings: "
        "set=model:diversity_weight=100")  # fmt: skip
    add("--steps", type=int, default=1500, help="of the prototypes with --counters")
    add("--seeds", default="0", help="of the trainings")
    add("--split", default="val", help="part of each set that is measured")
    add("--device", default="cpu", help="auto, cpu, cuda, cuda:0 or mps")
    add("--out", type=Path, default=Path("build/explanations"), metavar="DIR")
    add("--docs", type=Path, metavar="FILE", help="document whose tables are replaced")
    return parser


if __name__ == "__main__":
    sys.exit(main())

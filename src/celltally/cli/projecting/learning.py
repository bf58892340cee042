"""What was reviewed in a project becomes a data set to learn from, or a model that learned it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from celltally.cli._options import AsJson, Device, NewModel, Sample, Seconds, Seed, Steps
from celltally.cli._output import INTERRUPTED, failure, follow, say
from celltally.cli.finetuning import check_budget, check_seed, learn_and_save
from celltally.cli.learning import check_places as check_places
from celltally.cli.projecting._models import Learner, model_of
from celltally.cli.projecting._open import File, command, draw_step, reading

if TYPE_CHECKING:
    from collections.abc import Generator

    from celltally.learn.outcome import FineTuned
    from celltally.types import Progress

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, dataset, "dataset study.celltally --out my_cells/")
    command(project, finetune, "finetune study.celltally --model general --out my_general")


def dataset(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    name: Annotated[str | None, typer.Option(help="Of the data set; else the folder's.")] = None,
) -> None:
    """Write what was reviewed as a data set folder, to learn from.

    Ends with 1 when some reviewed images could not be read; the others are there.
    """
    from celltally.project.dataset import iter_export

    with reading(file) as store:
        made = follow(iter_export(store, out, name=name), "writing", draw_step)
    planes = f"{made.images} plane{'s' * (made.images != 1)}"
    regions = f"{made.regions} region{'s' * (made.regions != 1)}"
    say(f"Wrote {made.folder}: {planes}, {regions}, {made.dots} dots.")
    for sentence in made.missing:
        failure(sentence)
    if made.missing:
        raise typer.Exit(1)


def finetune(
    file: File,
    out: NewModel,
    model: Learner = None,
    seconds: Seconds = None,
    steps: Steps = None,
    sample: Sample = "",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Let a model learn from what was reviewed in a study.

    The given model and the study stay as they are; the result is a new model, which is compared
    with the given one. Ends with 1 when some reviewed images could not be read, and it learned
    from the others. Ctrl-C leaves nothing behind.
    """
    from celltally import zoo
    from celltally.project.dataset import iter_export
    from celltally.project.history import people
    from celltally.record import read_record

    check_budget(seconds=seconds, steps=steps)
    check_seed(seed)
    check_places(out=out)
    with TemporaryDirectory(prefix="celltally-") as temporary:
        with reading(file) as store:
            parent = zoo.find(model_of(store, model))
            read_record(parent)
            folder = Path(temporary) / "reviewed"
            try:
                job = iter_export(store, folder, name=file.stem)
                exported = follow(job, "writing", draw_step)
            except KeyboardInterrupt:
                say("Stopped; nothing was written.")
                raise typer.Exit(INTERRUPTED) from None
            by = people(store)

        def learning() -> Generator[Progress, None, FineTuned]:
            from celltally.learn.finetune import iter_finetune

            return iter_finetune(
                zoo.load(parent), [folder], name=out.name, seconds=seconds, steps=steps,
                device=device, seed=seed, project=file.stem, by=by,
            )  # fmt: skip

        learn_and_save(learning, out, sample, as_json)
    for sentence in exported.missing:
        failure(sentence)
    if exported.missing:
        raise typer.Exit(1)

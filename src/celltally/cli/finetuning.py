"""``celltally finetune`` and ``celltally new-model``: learning from what was reviewed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Device, NewModel, Sample, Seconds, Seed, Steps
from celltally.cli._output import INTERRUPTED, follow, print_json, print_table, say
from celltally.cli.learning import check_places as check_places
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.learn.outcome import Compared, FineTuned
    from celltally.types import Progress

__all__ = ["check_budget", "check_seed", "learn_and_save", "register"]

_DEFAULT_MINUTES = 5.0
#: Seconds between two lines of progress where there is no terminal to draw on.
_QUIET_SECONDS = 15.0

Reviewed = Annotated[
    list[Path],
    typer.Argument(metavar="DATA", help="Data set folders; images may be reviewed in part."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: celltally finetune general reviewed/ --out my_general")(finetune)
    app.command(
        epilog='Example: celltally new-model reviewed/ --out spores --sample "Fungal spores"'
    )(new_model)


def finetune(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model that is to learn: name or folder.")
    ],
    data: Reviewed,
    out: NewModel,
    seconds: Seconds = None,
    steps: Steps = None,
    sample: Sample = "",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Let a model learn from regions that you corrected.

    The given model is never changed: the result is a new one, which is compared with it on
    regions that taught nothing, and counts images unlike yours as it did. Ctrl-C leaves
    nothing behind. For a kind of cell that no model knows, see 'celltally new-model'.
    """
    from celltally import zoo
    from celltally.record import read_record

    check_budget(seconds=seconds, steps=steps)
    check_seed(seed)
    read_record(zoo.find(model))
    _check_data(data, out)

    def job() -> Generator[Progress, None, FineTuned]:
        from celltally.learn.finetune import iter_finetune

        return iter_finetune(
            zoo.load(model), data, name=out.name, seconds=seconds, steps=steps, device=device,
            seed=seed,
        )  # fmt: skip

    learn_and_save(job, out, sample, as_json)


def new_model(
    data: Reviewed,
    out: NewModel,
    sample: Sample = "",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model whose weights it starts from, by name or folder; left out, from chance.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help=f"Learn for so long ({_DEFAULT_MINUTES:g} if neither is given)."),
    ] = None,
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train a new model from the regions that you reviewed, and from nothing else.

    For a kind of cell that no model knows: it counts what it was shown, and nothing of what
    another model could do is kept. To improve a model, see 'celltally finetune'. Ctrl-C leaves
    nothing behind.
    """
    from celltally import zoo
    from celltally.record import read_record

    check_budget(minutes=minutes, steps=steps)
    check_seed(seed)
    if start is not None:
        read_record(zoo.find(start))
    _check_data(data, out)

    def job() -> Generator[Progress, None, FineTuned]:
        from celltally.learn.new_model import iter_new_model

        return iter_new_model(
            data, name=out.name, sample=sample, start=None if start is None else zoo.load(start),
            minutes=minutes or _DEFAULT_MINUTES, steps=steps, device=device, seed=seed,
        )  # fmt: skip

    learn_and_save(job, out, sample, as_json, from_nothing=True)


def check_budget(*, steps: int | None, **times: float | None) -> None:
    """Refuse a budget that is none, before anything is read.

    Raises
    ------
    UserError
        Says which option is wrong.
    """
    ((unit, time_given),) = times.items()
    if steps is not None and time_given is not None:
        raise UserError(f"--{unit} and --steps cannot be given together; leave one out")
    if steps is not None and steps < 1:
        raise UserError(f"{steps} steps are no training; give at least 1")
    if time_given is not None and not (math.isfinite(time_given) and time_given > 0):
        raise UserError(f"{time_given:g} {unit} are no training; give more than 0")


def check_seed(seed: int) -> None:
    """Refuse a seed that is none."""
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed {seed} cannot be used; give a number from 0 to {2**32 - 1}")


def _check_data(data: list[Path], out: Path) -> None:
    """Find wrong places and folders that are no data sets before torch is loaded."""
    from celltally.learn.data import read_dataset

    check_places(out=out)
    for folder in data:
        if not folder.exists():
            raise UserError(f"{folder} does not exist; give a data set folder")
        if note := read_dataset(folder, partly=True).note:
            say(note)


def learn_and_save(
    make_job: Callable[[], Generator[Progress, None, FineTuned]],
    out: Path,
    sample: str,
    as_json: bool,
    *,
    from_nothing: bool = False,
) -> None:
    """Run a job, save the model that comes of it, and tell how it compares.

    Parameters
    ----------
    make_job
        Begins the job; what it needs to load takes a while.
    out
        Where the model goes; nothing is written before it is whole.
    sample
        In words, what it counts; "" leaves that as the job has it.
    as_json
        Whether to tell it to a program.
    from_nothing
        Whether there is no model to compare with.
    """
    news = _News()
    try:
        tuned = follow(make_job(), "", lambda draw, step: draw(step, news.tell(step)))
        model = tuned.model
        if sample:
            model = replace(model, record=replace(model.record, sample=sample))
        tuned = replace(tuned, model=model.save(out))
    except KeyboardInterrupt:
        say("Stopped; nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(_record(tuned, out, from_nothing))
        return
    if tuned.compared:
        columns = ("image", "region", "counted", *(() if from_nothing else ("before",)), "after")
        print_table(columns, _rows(tuned.compared, from_nothing))
    for sentence in tuned.sentences:
        say(sentence)
    say(f"Wrote {out} ({tuned.model.sha256[:12]}).")


def _rows(compared: tuple[Compared, ...], from_nothing: bool) -> list[list[str]]:
    rows = []
    for one in compared:
        for region in one.regions:
            counts = (region.counted, *(() if from_nothing else (region.before,)), region.after)
            rows.append([region.image, one.judge, *(f"{count:.1f}" for count in counts)])
    return rows


def _record(tuned: FineTuned, out: Path, from_nothing: bool) -> dict[str, Any]:
    """Put the result as programs read it."""
    model, learned = tuned.model, tuned.model.record.learned
    content: dict[str, Any] = {
        "model": model.name,
        "path": str(out),
        "sha256": model.sha256,
        "parent": model.record.parent,
        "helped": tuned.helped,
        "firm": None if learned is None else learned.is_firm,
        "sentences": list(tuned.sentences),
        "interval_kind": None if model.calibration is None else model.calibration.kind,
        "compared": [_compared(one, from_nothing) for one in tuned.compared],
        "training": dict(model.record.training),
    }
    if learned is not None:
        names = (
            *("project", "date", "images", "regions", "stated", "excluded", "dots", "corrected"),
            *("kept_back", "audits"),
        )
        content["learned"] = {
            **{name: getattr(learned, name) for name in names},
            "by": list(learned.by),
            "new_prototypes": list(learned.new_prototypes),
            "metrics": dict(learned.metrics),
        }
    return content


def _compared(one: Compared, from_nothing: bool) -> dict[str, Any]:
    return {
        "judge": one.judge,
        "images": one.images,
        "mae_before": None if from_nothing else one.mae_before,
        "mae_after": one.mae_after,
        "regions": [
            {
                "image": region.image,
                "group": region.group,
                "region": region.region,
                "counted": region.counted,
                "before": None if from_nothing else region.before,
                "after": region.after,
            }
            for region in one.regions
        ],
    }


class _News:
    """What is said of the job while it runs: what is done, the loss, and that of what judges."""

    def __init__(self) -> None:
        self.spoken = time.monotonic()
        self.message = ""
        self.values: dict[str, float] = {}

    def tell(self, step: Progress) -> str:
        """Text for a step; where no bar is drawn it is also printed now and then."""
        self.values |= step.values
        parts = [step.message]
        if "loss" in step.values:
            parts.append(f"loss {self.values['loss']:.3g}")
            if "val_loss" in self.values:
                kept_back = f"of the regions kept back {self.values['val_loss']:.3g}"
                if "parent_loss" in self.values:
                    kept_back += f" (before {self.values['parent_loss']:.3g})"
                parts.append(kept_back)
        text = " · ".join(parts)
        now = time.monotonic()
        is_news = step.message != self.message or now - self.spoken >= _QUIET_SECONDS
        if is_news and not sys.stderr.isatty():
            self.spoken, self.message = now, step.message
            say(f"{step.done}{f' of {step.total}' if step.total else ''}: {text}")
        return text

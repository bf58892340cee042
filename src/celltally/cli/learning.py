"""``celltally train`` and ``celltally calibrate``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from celltally.cli._options import AsJson, Data, Device, NewModel, Sample, Seed
from celltally.cli._output import INTERRUPTED, follow, print_json, say
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.model import Model
    from celltally.types import Calibration, Progress

__all__ = ["register"]

_DEFAULT_MINUTES = 30.0
#: Seconds between two lines of progress where there is no terminal to draw on.
_QUIET_SECONDS = 30.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: celltally train my_cells/ --out my_model --minutes 60")(train)
    app.command(epilog="Example: celltally calibrate general audits/ --out general_calibrated")(
        calibrate
    )


def train(
    data: Data,
    out: NewModel,
    network: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which network; tally, or that of --start."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="A setting of the network, as in width=0.25 for csrnet."
        ),
    ] = None,
    val: Annotated[
        list[Path] | None,
        typer.Option(help="Data set that chooses the best weights; else a part of DATA."),
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Data set that calibrates the intervals; else a part of DATA."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help=f"Train for so long ({_DEFAULT_MINUTES:g} if neither is given)."),
    ] = None,
    sample: Sample = "",
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET=NUMBER",
            help="How often a data set's images are drawn against the others' (1), as in mbm=2.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Model whose weights the training starts from."),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (0.0015; 0.0005 with --start)."),
    ] = None,
    augmentation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SET=]STRENGTH",
            help="How much images are changed: full (the default), mild (one microscope and "
            "stain) or slight (images that are made alike); of one data set, as in vgg=slight.",
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="How many GPUs.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a model of your own.

    Ctrl-C ends the training early and leaves the best model so far.
    """
    if steps is not None and minutes is not None:
        raise UserError("--steps and --minutes cannot be given together; leave one out")
    if steps is None and minutes is None:
        minutes = _DEFAULT_MINUTES
    if steps is not None and steps < 1:
        raise UserError(f"{steps} steps are no training; give at least 1")
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise UserError(f"{minutes:g} minutes are no training; give more than 0")
    if learning_rate is not None and not 0 < learning_rate <= 1:
        raise UserError(
            f"--learning-rate {learning_rate:g} cannot be used: give a number above 0 and up to 1, "
            "such as 0.0005"
        )
    check_places(data, val or [], calibrate or [], out=out)
    set_weights = _set_weights(weight or [], data)
    strength, set_strengths = _strengths(augmentation or [], data)
    parent = None
    if start is not None:
        from celltally import zoo
        from celltally.record import read_record

        parent = zoo.find(start)
        read_record(parent)
    from celltally.learn.augment import AUGMENTATIONS
    from celltally.learn.fit import STARTED_RATE, FitConfig
    from celltally.learn.train import iter_train
    from celltally.networks import parse_settings

    for given in (strength, *set_strengths.values()):
        if given not in AUGMENTATIONS:
            raise UserError(
                f"there is no augmentation {given!r}; use one of: {', '.join(AUGMENTATIONS)}"
            )
    usual = FitConfig.learning_rate if parent is None else STARTED_RATE

    job = iter_train(
        data,
        network=network,
        network_config=parse_settings(setting or []),
        out=out,
        val=val or [],
        calibrate=calibrate or [],
        steps=steps,
        minutes=minutes,
        seed=seed,
        device=device,
        devices=devices,
        sample=sample,
        start=parent,
        fit=FitConfig(
            learning_rate=learning_rate or usual,
            set_weights=set_weights,
            augmentation=AUGMENTATIONS[strength],
            set_augmentations={name: AUGMENTATIONS[s] for name, s in set_strengths.items()},
        ),
    )
    _run(job, "training", out, minutes, as_json)


def _set_weights(given: list[str], data: list[Path]) -> dict[str, float]:
    """Read ``SET=NUMBER``; each set must be one of the data sets."""
    weights = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = math.nan
        if not (math.isfinite(weights[name]) and weights[name] > 0):
            raise UserError(f"--weight {text} cannot be used: give SET=NUMBER, such as mbm=2")
    _check_sets("--weight", weights, data)
    return weights


def _strengths(given: list[str], data: list[Path]) -> tuple[str, dict[str, str]]:
    """Read ``STRENGTH`` for all and ``SET=STRENGTH``; each set must be one of the data sets."""
    named: dict[str, str] = {}
    for name, strength in (text.split("=", 1) for text in given if "=" in text):
        if name in named:
            raise UserError(
                f"--augmentation gives {named[name]!r} and {strength!r} for {name!r}; give one"
            )
        named[name] = strength
    alike = [text for text in given if "=" not in text]
    if len(alike) > 1:
        raise UserError(
            f"--augmentation gives {alike[0]!r} and {alike[1]!r} for all data sets; give one, or "
            f"name a set, as in vgg={alike[1]}"
        )
    _check_sets("--augmentation", named, data)
    return (alike[0] if alike else "full"), named


def _check_sets(option: str, named: Iterable[str], data: list[Path]) -> None:
    """Raise a UserError where an option names what is no data set of the training."""
    from celltally.learn.data import read_dataset

    if not (names := set(named)):
        return
    there = {read_dataset(folder).name for folder in data}
    if unknown := sorted(names - there):
        raise UserError(
            f"{option} names the data set {unknown[0]!r}, but DATA has "
            f"{', '.join(sorted(there))}; use one of these"
        )


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or folder.")],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="MODEL", help="Folder of the calibrated copy.")],
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit a model's intervals to your own images.

    The result is a copy; the given model is never changed.
    """
    from celltally import zoo
    from celltally.record import read_record

    read_record(zoo.find(model))
    check_places(data, out=out)
    from celltally.learn.calibrate import iter_calibrate
    from celltally.predict import resolve_device

    resolve_device(device)
    job = iter_calibrate(zoo.load(model), data, out=out, device=device)
    _run(job, "calibrating", out, None, as_json)


def check_places(*data: list[Path], out: Path) -> None:
    """Find wrong places before torch is loaded."""
    from celltally.learn.data import read_dataset

    if out.exists():
        raise UserError(f"{out} exists already; choose another place for the model")
    parent = next(p for p in out.absolute().parents if p.exists())
    try:
        with TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"the model cannot be written to {out} ({str(error.strerror).lower()}); choose "
            "another place"
        ) from None
    for folder in (folder for folders in data for folder in folders):
        if not folder.exists():
            raise UserError(f"{folder} does not exist; give a data set folder")
        if note := read_dataset(folder).note:
            say(note)


def _run(
    job: Generator[Progress, None, Model],
    what: str,
    out: Path,
    minutes: float | None,
    as_json: bool,
) -> None:
    clock = _Clock(minutes)
    try:
        model = follow(job, what, lambda draw, step: draw(step, clock.tell(step)))
    except KeyboardInterrupt:
        if (out / "model.json").is_file():
            say(f"Stopped; the best model so far lies in {out} and can be used as it is.")
        else:
            say("Stopped before there was a model; nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    record = model.record
    if as_json:
        print_json(
            {
                "model": record.name,
                "path": str(out),
                "sha256": record.sha256,
                "calibrated": model.calibration is not None,
                "interval_kind": None if model.calibration is None else model.calibration.kind,
                "groups": None if model.calibration is None else model.calibration.groups,
                "training": dict(record.training),
                "metrics": dict(record.metrics),
            }
        )
        return
    print(f"{out}\t{record.sha256[:12]}")
    if what == "training" and (projection := record.training.get("projection")):
        say(f"Projection of the prototypes: {projection}.")
    if what == "training" and (left_out := record.training.get("left out")):
        say(f"Left out were {left_out}.")
    if what == "calibrating" and model.calibration is not None:
        say(_enough(model.calibration))
    if model.calibration is None:
        say("It has no calibrated intervals: there was no data for them (see --calibrate).")


def _enough(calibration: Calibration) -> str:
    """Say whether the images were enough, and how many more are needed."""
    from celltally.intervals import MIN_GROUPS

    n, groups = calibration.n, calibration.groups
    counted = f"{n} image{'s' * (n != 1)} in {groups} independent group{'s' * (groups != 1)}"
    if groups >= MIN_GROUPS:
        return f"Calibrated on {counted}."
    return (
        f"Provisional, on {counted}: {MIN_GROUPS - groups} more needed for a calibrated interval "
        f"(at least {MIN_GROUPS} groups)."
    )


class _Clock:
    """What is said of a long job while it runs: step, loss, error, minutes left."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self.start = self.spoken = self.told = time.monotonic()
        self.parts: dict[str, tuple[int, float]] = {}  # of each, where it is and its seconds
        self.values: dict[str, float] = {}

    def tell(self, step: Progress) -> str:
        """Text for a step; on its way it is also printed now and then where no bar is drawn."""
        now = time.monotonic()
        done, seconds = self.parts.get(step.message, (0, 0.0))
        # Jobs have parts that take turns; a part that begins anew has its time anew.
        seconds = 0.0 if step.done < done else seconds
        self.parts[step.message] = (step.done, seconds + now - self.told)
        self.told = now
        self.values |= step.values
        parts = [step.message]
        for name, label in (("loss", "loss"), ("val_mae", "validation error")):
            if name in self.values:
                parts.append(f"{label} {self.values[name]:.3g}")
        parts.append(self._left(step, now))
        text = " · ".join(part for part in parts if part)
        news = "val_mae" in step.values or now - self.spoken >= _QUIET_SECONDS
        if news and not sys.stderr.isatty():
            self.spoken = now
            say(f"{step.done}{f' of {step.total}' if step.total else ''}: {text}")
        return text

    def _left(self, step: Progress, now: float) -> str:
        if self.minutes is not None:
            left = max(60 * self.minutes - (now - self.start), 0.0)
            return f"{math.ceil(left / 60)} min left"
        if 0 < step.done < step.total:
            left = self.parts[step.message][1] / step.done * (step.total - step.done)
            return f"{math.ceil(left / 60)} min left of this part"
        return ""

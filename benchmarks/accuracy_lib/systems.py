"""What can be measured: a given model, a network trained for the set, a tuned baseline."""

from __future__ import annotations

import math
import re
import shutil
import statistics
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pandas as pd

from celltally import preprocess, zoo
from celltally.evaluate.baselines import BASELINES, TUNING_IMAGES, iter_judge, iter_tune
from celltally.evaluate.metrics import count_metrics
from celltally.evaluate.report import PER_IMAGE, Report, iter_evaluate
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, hash_samples, read_dataset, sample_count
from celltally.record import ModelRecord, canonical_json, read_record, sha256_of
from celltally.types import Progress

__all__ = ["MEAN", "Baseline", "GivenModel", "Job", "MeanCount", "Measured", "Network", "System"]

#: Name of the baseline that anything must beat.
MEAN = "mean"

#: Images that the speed of counting is measured on, after one to warm up.
SPEED_IMAGES = 5
#: The part of a set that networks are trained and baselines tuned on.
TRAIN = "train"


@dataclass(frozen=True)
class Measured:
    """The figures of a row by name, and its images as in ``Report``."""

    figures: dict[str, Any]
    per_image: pd.DataFrame


Measuring = Generator[Progress, None, Measured]


class System(Protocol):
    """Something that counts.

    ``learns`` says whether it needs the set's ``train`` and a seed.
    """

    kind: ClassVar[str]
    learns: ClassVar[bool]

    @property
    def label(self) -> str:
        """Name in the table; of two systems never the same."""

    def identity(self) -> dict[str, Any]:
        """Tell what it is, with which budget; when that changes it is measured again."""

    def measure(self, job: Job) -> Measuring:
        """Count the job's images."""


@dataclass(frozen=True)
class Job:
    """One row: a system on a part of a set, with a seed where it has one.

    Attributes
    ----------
    system
        What counts.
    folder, split
        Folder of the set, and the part of it that is counted.
    seed
        None for a model that is there already.
    diameter
        None for the set's cell diameter, ``"auto"`` for estimates.
    device
        See ``predict``.
    out
        Where trained networks are kept.
    as_is
        Whether networks learn at the scale of the set's images, as protocols of papers
        have it, and not at the program's.
    """

    system: System
    folder: Path
    split: str
    seed: int | None
    diameter: Literal["auto"] | None
    device: str
    out: Path
    as_is: bool = False

    @property
    def part(self) -> Path:
        """Data set folder that is counted."""
        return self.folder / self.split

    @property
    def train(self) -> Path:
        """Data set folder that is learned from."""
        return self.folder / TRAIN

    @property
    def label(self) -> str:
        """The system's name in the table."""
        estimated = self.diameter == "auto" and self.system.kind != Baseline.kind
        return self.system.label + (", diameter estimated" if estimated else "")

    @property
    def title(self) -> str:
        """What is done, in words."""
        seed = "" if self.seed is None else f" · seed {self.seed}"
        return f"{self.folder.name} {self.split} · {self.label}{seed}"

    @cached_property
    def key(self) -> str:
        """Identity of the row: everything that its counts depend on."""
        return sha256_of(
            canonical_json(
                {
                    "system": self.system.identity(),
                    "learned from": _data(self.train) if self.system.learns else None,
                    "set": self.folder.name,
                    "split": self.split,
                    "data": _data(self.part),
                    "seed": self.seed,
                    "diameter": self.diameter,
                    **({"as is": True} if self.as_is else {}),
                }
            )
        )

    @property
    def slug(self) -> str:
        """Name for files."""
        return f"{_slug(self.title)}-{self.key[:10]}"

    def measure(self) -> Measuring:
        """Do it."""
        measured = yield from self.system.measure(self)
        figures = {
            **{"key": self.key, "set": self.folder.name, "split": self.split},
            **{"system": self.label, "kind": self.system.kind, "seed": self.seed},
            **measured.figures,
            "created": time.time(),
        }
        return Measured(figures, measured.per_image)


@dataclass(frozen=True)
class GivenModel:
    """A model by name, or in a folder."""

    folder: Path
    kind: ClassVar[str] = "model"
    learns: ClassVar[bool] = False

    @cached_property
    def record(self) -> ModelRecord:
        """What its folder says of it."""
        return read_record(self.folder)

    @property
    def label(self) -> str:
        """Name in the table."""
        return self.record.name

    def identity(self) -> dict[str, Any]:
        """Weights and calibration."""
        calibration = self.record.files.get("calibration.json")
        return {"model": self.record.sha256, "calibration": calibration}

    def measure(self, job: Job) -> Measuring:
        """Count with it as it is."""
        return (yield from measure_model(self.folder, job))


@dataclass(frozen=True)
class Network:
    """A network that learns from nothing on the set's ``train``, and from nothing else.

    Parts of ``train`` choose the weights and calibrate the intervals.

    Attributes
    ----------
    name
        Registered name.
    steps, minutes
        Budget of a training, one of the two.
    config
        Settings other than the defaults.
    on_cpu
        Whether minutes are the processor's, which other work on the machine does not
        shorten.
    losses
        Weights of losses (``FitConfig``) other than the training's.
    """

    name: str
    steps: int | None = None
    minutes: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    on_cpu: bool = False
    losses: Mapping[str, float] = field(default_factory=dict)
    kind: ClassVar[str] = "network"
    learns: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Name in the table."""
        minutes = "CPU min" if self.on_cpu else "min"
        budget = f"{self.minutes:g} {minutes}" if self.steps is None else f"{self.steps} steps"
        changed = {**self.config, **self.losses}
        told = " ".join(f"{name} {value}" for name, value in changed.items())
        return f"{self.name}{f' ({told})' if told else ''}, {budget}"

    def identity(self) -> dict[str, Any]:
        """Name, settings and budget."""
        settings = {"settings": dict(self.config)} if self.config else {}
        settings |= {"losses": dict(self.losses)} if self.losses else {}
        clock = {"clock": "processor"} if self.on_cpu else {}
        budget = {"steps": self.steps, "minutes": self.minutes, **clock}
        return {"network": self.name, **budget, **settings}

    def measure(self, job: Job) -> Measuring:
        """Train it, unless that has been done, and count."""
        return (yield from measure_model((yield from self.trained(job)), job))

    def trained(self, job: Job) -> Generator[Progress, None, Path]:
        """Train it, unless that has been done; its folder."""
        what = {**self.identity(), "data": _data(job.train), "seed": job.seed}
        what |= {"as is": True} if job.as_is else {}
        digest = sha256_of(canonical_json(what))[:10]
        name = f"{_slug(f'{self.label} {job.folder.name} seed {job.seed}')}-{digest}"
        folder = job.out / "networks" / name
        if folder.is_dir():
            return folder
        from celltally.learn.fit import FitConfig
        from celltally.learn.train import iter_train

        # A training that was stopped leaves a usable model behind, but not the one to judge.
        unfinished = job.out / "unfinished" / name
        shutil.rmtree(unfinished, ignore_errors=True)
        for place in (folder, unfinished):
            place.parent.mkdir(parents=True, exist_ok=True)
        yield from iter_train(
            [job.train], network=self.name, out=unfinished, steps=self.steps,
            minutes=self.minutes, clock=time.process_time if self.on_cpu else None,
            seed=job.seed or 0, device=job.device,
            diameter_px=read_dataset(job.train).diameter_px if job.as_is else None,
            network_config=dict(self.config),
            fit=FitConfig(**self.losses),  # type: ignore[arg-type]
        )  # fmt: skip
        return unfinished.rename(folder)


@dataclass(frozen=True)
class Baseline:
    """Local maxima or watershed, tuned on the set's ``train``."""

    name: str
    images: int = TUNING_IMAGES
    kind: ClassVar[str] = "baseline"
    learns: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Name in the table."""
        return f"{BASELINES[self.name].label}, tuned"

    def identity(self) -> dict[str, Any]:
        """Tell what is tried, on how many images, scaled how."""
        return {
            "baseline": self.name,
            "images": self.images,
            "choices": asdict(BASELINES[self.name]),
            "preprocessing": preprocess.settings(),
        }

    def measure(self, job: Job) -> Measuring:
        """Tune it and count."""
        start = time.perf_counter()
        tuned = yield from iter_tune(self.name, job.train, images=self.images, seed=job.seed or 0)
        minutes = (time.perf_counter() - start) / 60
        report, speed = yield from iter_judge(tuned, job.part)
        sense = "dark" if tuned.dark else "bright"
        settings = (
            f"{sense} cells, sigma {tuned.sigma_px:g} px, prominence {tuned.prominence:g}, "
            f"height {tuned.height:g}"
        )
        return _measured(
            report,
            parameters=math.nan,
            train_minutes=minutes,
            mpx_per_s=speed,
            settings=settings,
            device="cpu",
        )


@dataclass(frozen=True)
class MeanCount:
    """The mean count of the set's ``train``, whatever the image shows."""

    kind: ClassVar[str] = "baseline"
    learns: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """Name in the table."""
        return "mean count of train"

    def identity(self) -> dict[str, Any]:
        """Tell what it is."""
        return {"baseline": MEAN}

    def measure(self, job: Job) -> Measuring:
        """Give every image the same count."""
        samples = read_dataset(job.part).samples
        mean = statistics.fmean(sample_count(s) for s in read_dataset(job.train).samples)
        table = pd.DataFrame(
            {
                "image": [sample.image.name for sample in samples],
                "group": [sample.group for sample in samples],
                "true": [sample_count(sample) for sample in samples],
                "count": mean,
                "status": "ok",
                "message": "",
            }
        ).reindex(columns=list(PER_IMAGE))
        yield Progress(1, 1, "counting")
        return Measured(
            {
                **count_metrics(table["true"], table["count"]),
                **{"failed": 0, "parameters": math.nan, "settings": f"mean {mean:.1f}"},
            },
            table.assign(error=table["count"] - table["true"]),
        )


def measure_model(folder: Path, job: Job) -> Measuring:
    """Count a job's images with a model folder."""
    report = yield from iter_evaluate(
        job.part, model=folder, diameter=job.diameter, device=job.device
    )
    from celltally.devices import resolve_device

    record = read_record(folder)
    spent = record.training
    return _measured(
        report,
        parameters=record.parameters,
        train_minutes=float(spent.get("minutes", math.nan)),
        mpx_per_s=_speed(folder, report, job),
        settings=f"{spent['steps']} steps" if "steps" in spent else "",
        device=str(resolve_device(job.device)),
    )


def _measured(report: Report, **figures: Any) -> Measured:
    named = {"sha256": report.model_sha256, "diameter": report.diameter, "failed": report.failed}
    return Measured({**report.metrics, **named, **figures}, report.per_image)


def _speed(folder: Path, report: Report, job: Job) -> float:
    """Megapixels at model scale per second of counting, on a few of the images."""
    from celltally.predict import predict
    from celltally.scale import model_shape

    model, dataset = zoo.load(folder), read_dataset(job.part)
    good = set(report.per_image["image"][report.per_image["status"] == "ok"])
    samples = [sample for sample in dataset.samples if sample.image.name in good]
    chosen = samples[:: max(1, math.ceil(len(samples) / SPEED_IMAGES))]
    diameter = None if job.diameter == "auto" else dataset.diameter_px
    pixels = seconds = 0.0
    for i, sample in enumerate([*chosen[:1], *chosen]):
        plane = select_pixels(read_image(sample.image), channel=dataset.channel)
        counted = predict(model, plane, diameter_px=diameter, device=job.device)
        if i == 0 or not counted.statistics:  # an image that shows nothing costs no network
            continue
        shape = model_shape(counted.image_shape, counted.diameter_px, model.diameter_px)
        pixels, seconds = pixels + math.prod(shape), seconds + counted.seconds
    return pixels / 1e6 / seconds if seconds else math.nan


def _data(folder: Path) -> dict[str, Any]:
    """Identity of a data set's images, labels, and what its ``dataset.json`` says of them."""
    dataset: Dataset = read_dataset(folder)
    return {
        "samples": hash_samples(dataset.samples),
        "diameter_px": dataset.diameter_px,
        "channel": dataset.channel,
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")

"""A model on a data set: how far off its counts, intervals and dots are."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celltally import intervals, zoo
from celltally.density import Matching, dots_from_prediction, match_dots
from celltally.diameter import check_diameter
from celltally.errors import UserError, failure
from celltally.evaluate.metrics import count_metrics, dot_metrics
from celltally.evaluate.plots import write_plots
from celltally.evaluate.reliability import Hits, judge_intervals, reliability
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, read_dataset, sample_count, sample_dots
from celltally.progress import relay
from celltally.record import read_record
from celltally.types import Prediction, Progress

if TYPE_CHECKING:
    from celltally.evaluate.explanations import Explaining, ImageMeasures
    from celltally.model import Model

__all__ = ["PER_IMAGE", "Report", "iter_evaluate"]

#: Columns of ``per_image.csv``.
PER_IMAGE = (
    *("image", "group", "true", "count", "error", "ci_low", "ci_high", "interval_kind"),
    *("n_dots", "precision", "recall", "f1", "diameter_px", "seconds", "status", "message"),
)


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Attributes
    ----------
    dataset
        Name of the data set.
    model, model_sha256
        Name and identity of the model.
    level
        Nominal coverage of the intervals.
    diameter
        In words, which cell diameter was used.
    metrics
        Figures by name (see ``count_metrics`` and ``dot_metrics``); NaN where one
        does not exist, as those of dots in a set that has only counts.
    per_image
        A row per image, with the columns ``PER_IMAGE``.
    reliability
        Nominal and observed coverage of the intervals of images and of random rectangles;
        see ``celltally.evaluate.reliability``. Empty for what has no intervals.
    explanations
        Figures of the explanations by name, see
        ``celltally.evaluate.explanations.explanation_figures``; empty where they were not
        asked for.
    prototypes
        A row per prototype, see ``per_prototype`` there.
    notes
        Sentences that the user should read.
    """

    dataset: str
    model: str
    model_sha256: str
    level: float
    diameter: str
    metrics: Mapping[str, float]
    per_image: pd.DataFrame
    reliability: pd.DataFrame = field(default_factory=pd.DataFrame)
    explanations: Mapping[str, float] = field(default_factory=dict)
    prototypes: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Number of images that could not be counted; the metrics leave them out."""
        return int((self.per_image["status"] != "ok").sum())

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images, for JSON: the metrics, and what they belong to."""
        explained = {"explanations": _finite(self.explanations)} if self.explanations else {}
        return {
            **_finite(self.metrics),
            "dataset": self.dataset,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "level": self.level,
            "diameter": self.diameter,
            "failed": self.failed,
            **explained,
        }


@dataclass(frozen=True)
class _Judged:
    """An image's row, and its dots' matching where it has true dots."""

    row: dict[str, Any]
    matching: Matching | None = None
    hits: Hits = field(default_factory=list)
    explained: ImageMeasures | None = None


def iter_evaluate(
    folder: str | Path,
    *,
    model: str | Path = zoo.DEFAULT_MODEL,
    out: str | Path | None = None,
    diameter: float | Literal["auto"] | None = None,
    level: float = 0.95,
    device: str = "auto",
    explanations: bool = False,
    changed_images: int = 10,
) -> Generator[Progress, None, Report]:
    """Count a data set's images and compare with its labels.

    Parameters
    ----------
    folder
        Data set folder.
    model
        Name, or a model folder.
    out
        Folder for ``metrics.json``, ``per_image.csv``, ``reliability.csv`` and the plots,
        or None.
    diameter
        Cell diameter in pixels; ``"auto"`` to estimate it image by image; None for
        the data set's, or estimates where it states none.
    level
        Nominal coverage of the intervals, in (0, 1).
    device
        See ``predict``.
    explanations
        Whether to measure the explanations of a model with prototypes as well; ``out`` then
        has ``explanations.csv``.
    changed_images
        How many images, at even distances, are changed for this (places removed, noise, a
        turn), which takes four more runs of the network each.

    Yields
    ------
    Progress
        After each image.

    Returns
    -------
    Report
        True and found dots can be the same cell when they are no farther apart
        than half the cell diameter: the data set's, else the one that was used.

    Raises
    ------
    UserError
        For arguments that cannot be used, and explanations of a model without prototypes,
        before any image is opened.
    """
    if problem := intervals.check_level(level):
        raise UserError(problem)
    if isinstance(diameter, float | int) and (problem := check_diameter(diameter)):
        raise UserError(f"{problem}, or 'auto' to have it estimated")
    dataset = read_dataset(folder)
    read_record(zoo.find(model))  # what is wrong with its files is said before torch is loaded
    if out is not None:
        _make_folder(Path(out))
    used, sentence = _diameter(dataset, diameter)

    yield Progress(0, len(dataset.samples), "loading the model")
    from celltally.predict import resolve_device

    resolve_device(device)
    loaded = zoo.load(model)
    explaining = None
    if explanations:
        from celltally.evaluate.explanations import Explaining

        explaining = Explaining(loaded, len(dataset.samples), changed_images, device)
    rng = np.random.default_rng(1)  # the same rectangles for every model
    judged: list[_Judged] = []
    for done, sample in enumerate(dataset.samples, start=1):
        job = _judge(loaded, dataset, sample, used, level, device, rng, explaining)
        judged.append((yield from job))
        yield Progress(done, len(dataset.samples), sample.image.name)

    table = pd.DataFrame([j.row for j in judged], columns=list(PER_IMAGE))
    good = table[table["status"] == "ok"]
    metrics = count_metrics(good["true"], good["count"], good["ci_low"], good["ci_high"], level)
    metrics |= dot_metrics([j.matching for j in judged if j.matching is not None])
    figures: dict[str, float] = {}
    prototypes = pd.DataFrame()
    if explaining is not None:
        explained = [j.explained for j in judged if j.explained is not None]
        figures, prototypes = yield from explaining.finish(explained, used)
    report = Report(
        explanations=figures,
        prototypes=prototypes,
        notes=(dataset.note,) if dataset.note else (),
        dataset=dataset.name,
        model=loaded.name,
        model_sha256=loaded.sha256,
        level=level,
        diameter=sentence,
        metrics=metrics,
        per_image=table,
        reliability=reliability([hit for j in judged for hit in j.hits]),
    )
    return report if out is None else _write(report, Path(out))


def _diameter(
    dataset: Dataset, diameter: float | Literal["auto"] | None
) -> tuple[float | None, str]:
    if isinstance(diameter, float | int):
        return float(diameter), f"{diameter:g} px, as given"
    if diameter is None and dataset.diameter_px is not None:
        return dataset.diameter_px, f"{dataset.diameter_px:g} px, the data set's"
    return None, "estimated image by image"


def _judge(
    model: Model,
    dataset: Dataset,
    sample: Sample,
    diameter_px: float | None,
    level: float,
    device: str,
    rng: np.random.Generator,
    explaining: Explaining | None = None,
) -> Generator[Progress, None, _Judged]:
    start = time.perf_counter()
    row: dict[str, Any] = dict.fromkeys(PER_IMAGE, math.nan)
    row |= {"image": sample.image.name, "group": sample.group, "interval_kind": "", "message": ""}
    try:
        true = sample_dots(sample) if sample.dots is not None else None
        row["true"] = sample_count(sample)
        pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
        prediction = yield from _predict(model, pixels, sample, diameter_px, device)
        interval = intervals.of(prediction, level)
        dots = dots_from_prediction(prediction)
        matching = None
        if true is not None:
            true = sample_dots(sample, prediction.image_shape)
            radius = (dataset.diameter_px or prediction.diameter_px) / 2
            matching = match_dots(true.yx, dots.yx, radius)
            row |= {
                "precision": matching.precision,
                "recall": matching.recall,
                "f1": matching.f1,
            }
        seconds = time.perf_counter() - start
        explained = None
        # What its base counted says nothing of the model's own prototypes.
        if explaining is not None and model.counting(prediction.appearance) is model:
            yx = None if true is None else true.yx
            cell = dataset.diameter_px or prediction.diameter_px
            explained = yield from explaining.measure(
                sample.image.name, pixels, prediction, yx, cell
            )
    except Exception as error:
        return _Judged(row | {"status": "failed", "message": failure(error, sample.image)})
    row |= {
        "count": prediction.count,
        "error": prediction.count - row["true"],
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval_kind": interval.kind,
        "n_dots": len(dots),
        "diameter_px": prediction.diameter_px,
        "seconds": seconds,
        "status": "ok",
        "message": interval.reason,
    }
    hits = judge_intervals(prediction, row["true"], true, rng)
    return _Judged(row, matching, hits, explained)


def _predict(
    model: Model,
    pixels: NDArray[Any],
    sample: Sample,
    diameter_px: float | None,
    device: str,
) -> Generator[Progress, None, Prediction]:
    from celltally.predict import iter_predict

    job = iter_predict(
        model, pixels, diameter_px=diameter_px, device=device, image=sample.image.name
    )
    # Tiles do not move the bar, but let a cancelled job end between them.
    return (yield from relay(job, lambda tile: Progress(0, 0, sample.image.name)))


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {k: v if math.isfinite(v) else None for k, v in figures.items()}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be made ({str(error.strerror).lower()}); choose another"
        ) from None


def _write(report: Report, out: Path) -> Report:
    try:
        text = json.dumps(report.to_dict(), indent=2)
        (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
        report.per_image.to_csv(out / "per_image.csv", index=False)
        report.reliability.to_csv(out / "reliability.csv", index=False)
        if report.explanations:
            report.prototypes.to_csv(out / "explanations.csv", index=False)
        notes = write_plots(report.per_image, report.level, out, report.reliability)
    except OSError as error:
        raise UserError(
            f"the report cannot be written to {out} ({str(error.strerror).lower()}); "
            "choose another folder"
        ) from None
    return replace(report, notes=report.notes + notes)

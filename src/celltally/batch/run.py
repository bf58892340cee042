"""The batch itself: check everything, then count image after image."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally import intervals, zoo
from celltally.batch.origins import Origin, OriginsFile, origin_of
from celltally.batch.outputs import check_replaceable, make_folder, output_names
from celltally.batch.row import count_row
from celltally.batch.table import (
    COLUMNS,
    CountsFile,
    Row,
    check_writable,
    number,
    one_line,
    read_counts,
    typed,
)
from celltally.density import dots_from_prediction
from celltally.diameter import check_diameter
from celltally.errors import UserError, failure
from celltally.io import (
    channel_names,
    find_images,
    guess_channel,
    list_scenes,
    read_image,
    select_pixels,
    write_density,
    write_dots,
)
from celltally.progress import relay
from celltally.record import read_record
from celltally.types import Image, Progress

if TYPE_CHECKING:
    import pandas as pd

    from celltally.model import Model

__all__ = ["Counted", "iter_count"]


@dataclass(frozen=True)
class Counted(Progress):
    """The step after which an image is done.

    Attributes
    ----------
    row
        Its row of the table, as in the file.
    notes
        Sentences that the user should read, the same for many images perhaps.
    """

    row: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Settings:
    """What is the same for every image of a batch."""

    diameter_px: float | None
    channel: int | str | None
    plane: Mapping[str, int]
    level: float
    device: str

    @property
    def told(self) -> dict[str, Any]:
        """What a row does not tell."""
        return {"channel": self.channel, "plane": dict(self.plane), "diameter": self.diameter_px}


@dataclass(frozen=True)
class _Task:
    """An image and the files that belong to it."""

    image: Path
    dots: Path | None
    density: Path | None

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.dots, self.density) if path is not None]


def iter_count(
    paths: str | Path | Iterable[str | Path],
    *,
    model: str | Path = zoo.DEFAULT_MODEL,
    diameter_px: float | None = None,
    channel: int | str | None = None,
    plane: Mapping[str, int] | None = None,
    level: float = 0.95,
    out: str | Path | None = None,
    dots_dir: str | Path | None = None,
    density_dir: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    recursive: bool = False,
) -> Generator[Progress, None, pd.DataFrame]:
    """Count the cells of files and folders.

    All arguments are checked, and the model is loaded, before an image is opened.
    An image that fails becomes a row that says why, and the batch goes on.

    ``out`` grows by a row per image and is usable at any moment. An earlier table
    at the same place is replaced; until each of its images has been counted again
    a copy of it stays beside it (``counts.csv.bak``).

    Parameters
    ----------
    paths
        Images and folders.
    model
        Name, or a model folder.
    diameter_px
        Cell diameter in pixels; None to estimate it image by image.
    channel
        As ``select_pixels`` takes it; None for a guess.
    plane
        Such as ``{"t": 0, "z": 3}``; without, the first time point and the middle z.
    level
        Nominal coverage of the intervals, in (0, 1).
    out
        Where the table goes, or None.
    dots_dir, density_dir
        Folders for ``<stem>.csv`` with dots and ``<stem>.tif`` with the density
        (the image's suffix is kept where two stems clash). Files there that
        counting did not write are never replaced.
    device
        See ``predict``.
    resume
        Leave out images that ``out`` already has: those with a row of the same
        file name, status ``ok``, the same model and calibration (by sha256) and
        level, which were counted from the same file with the same channel, plane
        and diameter (a hidden file beside the table tells), and whose dots and
        density files are there if they are asked for. Failed images, and images
        whose name occurs twice in the batch, are counted again. Rows of images
        that are not in this batch stay.
    recursive
        Whether to look into subfolders.

    Yields
    ------
    Progress
        ``done`` and ``total`` in images; a ``Counted`` after each image.

    Returns
    -------
    pandas.DataFrame
        A row per image of the batch, resumed ones included, in the order of the
        images; columns as in ``counts.csv``.

    Raises
    ------
    UserError
        For arguments that cannot be used, before any image is opened; and when
        the table can no longer be written.
    """
    settings = _Settings(diameter_px, channel, dict(plane or {}), level, device)
    table = None if out is None else Path(out)
    _check(settings, resume, table)
    given = [paths] if isinstance(paths, str | Path) else paths
    tasks = _tasks(find_images(given, recursive=recursive), dots_dir, density_dir)
    images = [task.image for task in tasks]
    read_record(zoo.find(model))  # what is wrong with its files is said before torch is loaded
    earlier: list[Row] = []
    if table is not None:
        check_writable(table)
        earlier = read_counts(table)
    for folder in (dots_dir, density_dir):
        if folder is not None:
            make_folder(Path(folder))
    check_replaceable((file for task in tasks for file in task.files), images, table)

    yield Progress(0, len(tasks), "loading the model")
    from celltally.predict import resolve_device

    resolve_device(device)
    loaded = zoo.load(model)

    rows: list[Row | None] = [None] * len(tasks)
    others: list[Row] = []
    origins = {task.image: origin_of(task.image, settings.told) for task in tasks}
    recorded = OriginsFile(table) if table is not None else None
    before: list[Origin] = []
    if resume and recorded is not None:
        before = recorded.read()
        same = {task.image.name for task in tasks if origins[task.image] in before}
        rows = _resumed([r for r in earlier if r["image"] in same], tasks, loaded, settings)
        names = {path.name for path in images}
        others = [row for row in earlier if row["image"] not in names]
    kept = [*others, *(row for row in rows if row is not None)]
    done = sum(row is not None for row in rows)
    if done:
        yield Progress(done, len(tasks), f"{done} of {len(tasks)} images were counted before")
    with ExitStack() as stack:
        file = None
        if table is not None:
            still = {id(row) for row in kept}
            replaced = [row for row in earlier if id(row) not in still]
            file = stack.enter_context(CountsFile(table, kept, replaced))
        if recorded is not None:
            taken = {row["image"] for row in kept}
            recorded.start(origin for origin in before if origin.get("image") in taken)
        for i, task in enumerate(tasks):
            if rows[i] is not None:
                continue
            row, notes = yield from _count_safely(loaded, task, settings, done, len(tasks))
            rows[i] = row
            if file is not None and recorded is not None:
                recorded.append(origins[task.image])
                file.append(row)
            done += 1
            yield Counted(done, len(tasks), task.image.name, row=row, notes=notes)
        finished = [row for row in rows if row is not None]
        if file is not None:
            file.finish([*others, *finished])
            if file.backup is not None:
                yield Progress(
                    done,
                    len(tasks),
                    f"not every image of the earlier table was counted again; it is kept as "
                    f"{file.backup}",
                )
    return typed(finished)


def _check(settings: _Settings, resume: bool, table: Path | None) -> None:
    """Find what is wrong with the settings without torch, so that it is said at once."""
    level, diameter = settings.level, settings.diameter_px
    if problem := intervals.check_level(level):
        raise UserError(problem)
    if diameter is not None and (problem := check_diameter(diameter)):
        raise UserError(f"{problem}, or leave it out to have it estimated")
    for axis, index in settings.plane.items():
        if axis.upper() not in ("T", "Z") or index < 0:
            raise UserError(
                f"a plane cannot be chosen by {axis}={index}: give t and z from 0 on, as in t=0,z=3"
            )
    channel = settings.channel
    if (isinstance(channel, int) and channel < 0) or channel == "":
        raise UserError(f"there is no channel {channel!r}: give a name, or a number from 0 on")
    if resume and table is None:
        raise UserError("there is nothing to resume without a table: add --out counts.csv")


def _tasks(
    images: Sequence[Path], dots_dir: str | Path | None, density_dir: str | Path | None
) -> list[_Task]:
    return [
        _Task(
            image=image,
            dots=None if dots_dir is None else Path(dots_dir) / f"{name}.csv",
            density=None if density_dir is None else Path(density_dir) / f"{name}.tif",
        )
        for image, name in zip(images, output_names(images), strict=True)
    ]


def _resumed(
    earlier: Sequence[Row], tasks: Sequence[_Task], model: Model, settings: _Settings
) -> list[Row | None]:
    """Row of the earlier table that stands for each image, or None; see ``iter_count``."""
    usable = {
        row["image"]: row for row in earlier if _is_same_count(row, model, settings)
    }  # the last one wins: a kill in a resumed batch leaves older rows before it
    often = Counter(task.image.name for task in tasks)
    return [
        usable.get(task.image.name)
        if often[task.image.name] == 1 and all(file.is_file() for file in task.files)
        else None
        for task in tasks
    ]


def _is_same_count(row: Row, model: Model, settings: _Settings) -> bool:
    if row["status"] != "ok":
        return False
    return (
        row["model_sha256"] == model.sha256
        and row["calibration_sha256"] == model.calibration_sha256
        and row["level"] == str(float(settings.level))
    )


def _count_safely(
    model: Model, task: _Task, settings: _Settings, done: int, total: int
) -> Generator[Progress, None, tuple[Row, tuple[str, ...]]]:
    """Row of an image, whatever happens with it."""
    start = time.perf_counter()
    try:
        return (yield from _count(model, task, settings, done, total))
    except Exception as error:
        sentence = failure(error, task.image)
    row = dict.fromkeys(COLUMNS, "") | {
        "image": task.image.name,
        "level": str(float(settings.level)),
        "model": model.name,
        "model_sha256": model.sha256,
        "calibration_sha256": model.calibration_sha256,
        "seconds": number(time.perf_counter() - start, 3),
        "status": "failed",
        "message": one_line(sentence),
    }
    return row, ()


def _count(
    model: Model, task: _Task, settings: _Settings, done: int, total: int
) -> Generator[Progress, None, tuple[Row, tuple[str, ...]]]:
    from celltally.predict import iter_predict

    start = time.perf_counter()
    image = read_image(task.image)
    t, z = _plane_of(image, settings.plane)
    pixels = select_pixels(image, channel=settings.channel, plane=settings.plane)
    job = iter_predict(
        model,
        pixels,
        diameter_px=settings.diameter_px,
        device=settings.device,
        image=task.image.name,
    )
    prediction = yield from relay(
        job,
        lambda tile: Progress(
            done, total, task.image.name, {"tile": float(tile.done), "tiles": float(tile.total)}
        ),
    )
    dots = dots_from_prediction(prediction)
    if task.dots is not None:
        place = np.ones_like(dots.t)
        write_dots(task.dots, replace(dots, t=t * place, z=z * place))
    if task.density is not None:
        write_density(task.density, prediction, image.pixel_size_um)
    interval = intervals.of(prediction, settings.level)
    row = count_row(
        prediction,
        interval,
        n_dots=len(dots),
        t=t,
        z=z,
        seconds=time.perf_counter() - start,
        sentences=(_scene_note(image), _channel_note(image, settings.channel)),
    )
    return row, prediction.notes


def _plane_of(image: Image, plane: Mapping[str, int]) -> tuple[int, int]:
    """Time point and z that ``select_pixels`` takes; 0 where there is no such axis."""
    chosen = {axis.upper(): index for axis, index in plane.items()}
    return chosen.get("T", 0), chosen.get("Z", image.sizes.get("Z", 1) // 2)


def _channel_note(image: Image, channel: int | str | None) -> str:
    """Which of several channels was counted, where nobody chose one."""
    if channel is not None or image.sizes.get("C", 1) < 2:
        return ""
    names, guess = channel_names(image), guess_channel(image)
    return f"channel {names[guess]} of {len(names)} was counted" if isinstance(guess, int) else ""


def _scene_note(image: Image) -> str:
    """Which of several scenes was counted; most formats have one only."""
    if image.scene is None or image.path is None:
        return ""
    scenes = list_scenes(image.path)
    return f"scene {image.scene} of {len(scenes)} was counted" if len(scenes) > 1 else ""

"""The batch itself: check everything, then count image after image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from celltally import zoo
from celltally.batch.image import Opened, RowDone, iter_rows
from celltally.batch.origins import Origin, OriginsFile, origin_of, times_of
from celltally.batch.outputs import check_replaceable, make_folder, output_names
from celltally.batch.settings import Z_OF_STACK, Settings, Task, ZStack
from celltally.batch.table import CountsFile, Row, check_writable, read_counts, typed
from celltally.errors import UserError
from celltally.io import find_images
from celltally.io.planes import PlaneChoice
from celltally.record import read_record
from celltally.types import Progress

if TYPE_CHECKING:
    import pandas as pd

    from celltally.model import Model

__all__ = ["Counted", "iter_count"]


@dataclass(frozen=True)
class Counted(Progress):
    """The step after which a row is there: of an image, or of one time point of it.

    Attributes
    ----------
    row
        As in the file.
    notes
        Sentences that the user should read, the same for many images perhaps.
    """

    row: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def iter_count(
    paths: str | Path | Iterable[str | Path],
    *,
    model: str | Path = zoo.DEFAULT_MODEL,
    diameter_px: float | None = None,
    channel: int | str | None = None,
    plane: Mapping[str, PlaneChoice] | None = None,
    z_stack: ZStack = "plane",
    merge_distance_px: float | None = None,
    merge_gap: int = 0,
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
        Cell diameter in pixels; None to estimate it image by image: once for all time points,
        and for all planes that are merged, of an image.
    channel
        As ``select_pixels`` takes it; None for a guess.
    plane
        Such as ``{"t": 0, "z": 3}``; without, the first time point and the middle z. A slice
        for t gives a row for each time point (``slice(None)``: all of them, ``slice(0, 10)``:
        0 to 9): a curve, not parts of a sum. A slice for z says which planes are projected
        or merged; without, all.
    z_stack
        What of a z stack is counted: one ``plane``; its maximum ``projection`` (the row's z
        is ``max``); or every plane, the dots of which are ``merged`` into cells
        (``density.stacks``; z is ``merged``, count and n_dots are the number of cells, and
        there is no interval).
    merge_distance_px, merge_gap
        How far apart a cell's dots in neighbouring planes are at most (None: half a cell
        diameter), and how many planes between two of them may be without.
    level
        Nominal coverage of the intervals, in (0, 1).
    out
        Where the table goes, or None.
    dots_dir, density_dir
        Folders for ``<stem>.csv`` with dots and ``<stem>.tif`` with the density
        (the image's suffix is kept where two stems clash). Files there that
        counting did not write are never replaced. A file of dots has those of all time
        points, each with its t and z; a file of densities has the axes T and Z where there
        are several time points or merged planes (``io.DensityStack``).
    device
        See ``predict``.
    resume
        Leave out images that ``out`` already has: those with a row of the same
        file name, status ``ok``, the same model and calibration (by sha256) and
        level, which were counted from the same file with the same channel, planes
        and diameter, and from a plane, a projection or a merged stack as now (a hidden
        file beside the table tells), and whose dots and density files are there if
        they are asked for. Of an image some of whose time points are missing, these
        are counted; all of them where files are asked for. Failed images, and images
        whose name occurs twice in the batch, are counted again. Rows of images that
        are not in this batch stay.
    recursive
        Whether to look into subfolders.

    Yields
    ------
    Progress
        ``done`` and ``total`` in images; a ``Counted`` after each image, or after each
        time point of it.

    Returns
    -------
    pandas.DataFrame
        A row per image of the batch, or per time point of it, resumed ones included, in
        the order of the images; columns as in ``counts.csv``.

    Raises
    ------
    UserError
        For arguments that cannot be used, before any image is opened; and when
        the table can no longer be written.
    """
    settings = Settings(
        diameter_px,
        channel,
        dict(plane or {}),
        z_stack,
        merge_distance_px,
        merge_gap,
        level,
        device,
    )
    table = None if out is None else Path(out)
    if problem := settings.problem():
        raise UserError(problem)
    if resume and table is None:
        raise UserError("there is nothing to resume without a table: add --out counts.csv")
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

    rows: list[dict[str, Row]] = [{} for _ in tasks]
    complete = [False] * len(tasks)
    others: list[Row] = []
    origins = {task.image: origin_of(task.image, settings.told) for task in tasks}
    recorded = OriginsFile(table) if table is not None else None
    before: list[Origin] = []
    if resume and recorded is not None:
        before = recorded.read()
        rows, complete = _resumed(earlier, tasks, origins, before, loaded, settings)
        names = {path.name for path in images}
        others = [row for row in earlier if row["image"] not in names]
    kept = [*others, *(row for found in rows for row in found.values())]
    done = sum(complete)
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
            if complete[i]:
                continue
            written = False
            missing = 1
            for step in iter_rows(loaded, task, settings, dict(rows[i])):
                if isinstance(step, Opened | RowDone) and recorded is not None and not written:
                    times = step.times if isinstance(step, Opened) else ()
                    recorded.append(_with_times(origins[task.image], settings, times))
                    written = True
                if isinstance(step, Opened):
                    missing = len({str(t) for t in step.times} - set(rows[i]))
                elif isinstance(step, RowDone):
                    row = dict(step.row)
                    rows[i][row["t"]] = row
                    if file is not None:
                        file.append(row)
                    missing -= 1
                    # A row without a time point is the end of an image that failed.
                    done += missing == 0 or not row["t"]
                    yield Counted(done, len(tasks), task.image.name, row=row, notes=step.notes)
                else:
                    words = ", ".join(part for part in (task.image.name, step.message) if part)
                    yield Progress(done, len(tasks), words, step.values)
        finished = [row for found in rows for row in _in_time(found)]
        if file is not None:
            file.finish([*others, *finished])
            if file.backup is not None:
                yield Progress(
                    done,
                    len(tasks),
                    "not every image or time point of the earlier table was counted again; it is "
                    f"kept as {file.backup}",
                )
    return typed(finished)


def _with_times(origin: Origin, settings: Settings, times: tuple[int, ...]) -> Origin:
    """Origin of an image's rows; of several time points, of which ones there are to be rows."""
    return {**origin, "times": list(times)} if settings.is_series and times else origin


def _in_time(rows: Mapping[str, Row]) -> list[Row]:
    """Rows of an image in the order of time, what is said of the whole image last."""
    return [rows[t] for t in sorted(rows, key=lambda t: (not t, int(t or 0)))]


def _tasks(
    images: Sequence[Path], dots_dir: str | Path | None, density_dir: str | Path | None
) -> list[Task]:
    return [
        Task(
            image=image,
            dots=None if dots_dir is None else Path(dots_dir) / f"{name}.csv",
            density=None if density_dir is None else Path(density_dir) / f"{name}.tif",
        )
        for image, name in zip(images, output_names(images), strict=True)
    ]


def _resumed(
    earlier: Sequence[Row],
    tasks: Sequence[Task],
    origins: Mapping[Path, Origin],
    before: Sequence[Origin],
    model: Model,
    settings: Settings,
) -> tuple[list[dict[str, Row]], list[bool]]:
    """Rows of the earlier table that stand for each image, by t, and whether they are all."""
    usable: dict[str, dict[str, Row]] = {}
    for row in earlier:
        if _is_same_count(row, model, settings):
            # The last one wins: a kill in a resumed batch leaves older rows before it.
            usable.setdefault(row["image"], {})[row["t"]] = row
    often = Counter(task.image.name for task in tasks)
    rows: list[dict[str, Row]] = []
    complete: list[bool] = []
    for task in tasks:
        times = times_of(origins[task.image], before, settings.along("T"))
        found = usable.get(task.image.name, {})
        have = {str(t): found[str(t)] for t in times if str(t) in found}
        whole = bool(times) and len(have) == len(times)
        if often[task.image.name] > 1 or (
            task.files and not (whole and all(file.is_file() for file in task.files))
        ):
            have, whole = {}, False
        rows.append(have)
        complete.append(whole)
    return rows, complete


def _is_same_count(row: Row, model: Model, settings: Settings) -> bool:
    if row["status"] != "ok":
        return False
    stack = Z_OF_STACK.get(settings.z_stack)
    return (
        model.made(row["model_sha256"], row["calibration_sha256"])
        and row["level"] == str(float(settings.level))
        and (row["z"] not in Z_OF_STACK.values() if stack is None else row["z"] == stack)
    )

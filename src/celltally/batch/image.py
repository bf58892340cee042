"""One image of a batch → its rows: one, or one for each time point."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celltally import intervals
from celltally.batch.diameter import iter_common_diameter
from celltally.batch.row import count_row, failed_row, merged_row
from celltally.batch.settings import Z_OF_STACK, Settings, Task
from celltally.batch.table import Row
from celltally.density import dots_from_prediction
from celltally.density.stacks import join_dots
from celltally.errors import failure
from celltally.io import (
    DensityStack,
    channel_names,
    guess_channel,
    iter_project,
    list_scenes,
    planes_along,
    read_image,
    select_pixels,
    write_density,
    write_dots,
)
from celltally.io.planes import iter_depths, look_around
from celltally.progress import relay
from celltally.types import Dots, Image, Prediction, Progress

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["Opened", "RowDone", "iter_rows"]


@dataclass(frozen=True)
class Opened(Progress):
    """The first step of an image that can be opened: which time points it will have rows of."""

    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowDone(Progress):
    """The step after which a row is there, and the files that belong to it."""

    row: Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def iter_rows(
    model: Model, task: Task, settings: Settings, have: Mapping[str, Row]
) -> Generator[Progress, None, None]:
    """Count an image; whatever happens with it, or with one time point of it, becomes a row.

    Rows come as they are counted; where files are asked for, all come after these are written,
    so that a row in a table always has its files.

    Parameters
    ----------
    model, task, settings
        What counts, what is counted, and how.
    have
        Rows, by t, of time points that need not be counted again; empty where files are
        asked for.

    Yields
    ------
    Progress
        An ``Opened``, then a ``RowDone`` for each row. Others have a message where there is
        more than a plane to an image ("t 3"), and values of what is done: ``tile`` of
        ``tiles``, ``plane`` of ``planes``.
    """
    start = time.perf_counter()
    waiting: list[RowDone] = []
    try:
        image = read_image(task.image)
        counter = _Counter(
            model,
            image,
            settings,
            planes_along(image, "t", settings.along("T")),
            planes_along(image, "z", settings.along("Z")),
        )
        yield Opened(0, 0, times=tuple(counter.times))
        with ExitStack() as stack:
            files = _Files(task, image, counter, stack)
            yield from counter.find_diameter()
            for t in counter.times:
                if str(t) in have:
                    continue
                done = yield from _count_safely(counter, files, t, start)
                start = time.perf_counter()
                if task.files:
                    waiting.append(done)
                else:
                    yield done
            files.write()
    except Exception as error:
        sentence = failure(error, task.image)
        seconds = time.perf_counter() - start
        yield RowDone(
            0, 0, row=failed_row(task.image.name, model, settings.level, seconds, sentence)
        )
        return
    yield from waiting


def _count_safely(
    counter: _Counter, files: _Files, t: int, start: float
) -> Generator[Progress, None, RowDone]:
    """Row of a time point, whatever happens with it."""
    task, settings = files.task, counter.settings
    try:
        return (yield from counter.count(t, files, start))
    except Exception as error:
        if len(counter.times) == 1:
            raise
        sentence = failure(error, task.image)
    seconds = time.perf_counter() - start
    row = failed_row(task.image.name, counter.model, settings.level, seconds, sentence, t=t)
    return RowDone(0, 0, row=row)


@dataclass
class _Counter:
    """Counts an image's time points, all in the same way."""

    model: Model
    image: Image
    settings: Settings
    times: Sequence[int]
    planes: Sequence[int]

    def __post_init__(self) -> None:
        self.diameter_px = self.settings.diameter_px
        self.merges = self.settings.z_stack == "merged"
        self.z: int | str = Z_OF_STACK.get(self.settings.z_stack, self.planes[0])

    def find_diameter(self) -> Generator[Progress, None, None]:
        """Estimate one diameter for everything that is to be compared or merged."""
        job = iter_common_diameter(
            self.settings, self.times, self.planes, self._plane, self._project
        )
        needed, found = yield from relay(
            job, _telling("estimating the cell diameter", "plane", "planes")
        )
        if needed:
            self.diameter_px = found or self.model.diameter_px

    def count(self, t: int, files: _Files, start: float) -> Generator[Progress, None, RowDone]:
        """Count a time point and hand what belongs into files to these."""
        told = f"t {t}" if len(self.times) > 1 else ""
        if self.merges:
            return (yield from self._merge(t, told, files, start))
        from celltally.predict import iter_predict

        if self.settings.z_stack == "projection":
            pixels = yield from relay(self._project(t), _telling(told, "plane", "planes"))
        else:
            pixels = self._plane(t, self.planes[0])
        job = iter_predict(
            self.model,
            pixels,
            diameter_px=self.diameter_px,
            device=self.settings.device,
            image=self.image.name,
        )
        prediction = yield from relay(job, _telling(told, "tile", "tiles"))
        dots = dots_from_prediction(prediction)
        files.add(t, self.z, prediction)
        if files.task.dots is not None:
            depths = self._depths(dots, t, prediction.diameter_px)
            files.add_dots(dots, t, (yield from relay(depths, _telling(told, "plane", "planes"))))
        row = count_row(
            prediction,
            intervals.of(prediction, self.settings.level),
            n_dots=len(dots),
            t=t,
            z=self.z,
            seconds=time.perf_counter() - start,
            sentences=self._sentences(),
        )
        return RowDone(0, 0, row=row, notes=prediction.notes)

    def _merge(
        self, t: int, told: str, files: _Files, start: float
    ) -> Generator[Progress, None, RowDone]:
        from celltally.stack import PlaneCounted, iter_count_stack

        job = iter_count_stack(
            self.model,
            lambda z: self._plane(t, z),
            self.planes,
            diameter_px=self.diameter_px,
            distance_px=self.settings.merge_distance_px,
            gap=self.settings.merge_gap,
            device=self.settings.device,
            image=self.image.name,
        )

        def tell(step: Progress) -> Progress:
            if isinstance(step, PlaneCounted) and step.prediction is not None:
                files.add(t, step.index, step.prediction)
            words = ", ".join(part for part in (told, step.message) if part)
            return Progress(0, 0, words, step.values)

        stack = yield from relay(job, tell)
        files.add_dots(stack.merged.dots, t, stack.merged.dots.z)
        row = merged_row(
            stack,
            self.settings.level,
            t=t,
            seconds=time.perf_counter() - start,
            sentences=self._sentences(),
        )
        return RowDone(0, 0, row=row, notes=stack.notes)

    def _plane(self, t: int, z: int) -> NDArray[Any]:
        return select_pixels(self.image, channel=self.settings.channel, plane={"t": t, "z": z})

    def _project(self, t: int) -> Generator[Progress, None, NDArray[Any]]:
        return iter_project(self.image, channel=self.settings.channel, t=t, z=self.planes)

    def _depths(
        self, dots: Dots, t: int, diameter_px: float
    ) -> Generator[Progress, None, NDArray[np.int64]]:
        """Find the plane of every dot."""
        if self.settings.z_stack == "plane":
            return np.full(len(dots), self.planes[0], dtype=np.int64)
        return (
            yield from iter_depths(
                self.image,
                dots.yx,
                channel=self.settings.channel,
                t=t,
                z=self.planes,
                window_px=look_around(diameter_px),
            )
        )

    def _sentences(self) -> tuple[str, ...]:
        """Say what the user should read of how the image was looked at."""
        image = self.image
        return (
            _stack_note(self.settings, self.planes),
            _time_note(image, self.settings, self.planes),
            _scene_note(image),
            _channel_note(image, self.settings.channel),
        )


class _Files:
    """What belongs into the files of an image, until all of it is there."""

    def __init__(self, task: Task, image: Image, counter: _Counter, stack: ExitStack) -> None:
        self.task = task
        self._image = image
        self._dots: list[Dots] = []
        self._several: DensityStack | None = None
        self._single: Prediction | None = None
        if task.density is not None and (counter.merges or len(counter.times) > 1):
            planes = counter.planes if counter.merges else [counter.z]
            self._several = stack.enter_context(
                DensityStack(task.density, counter.times, planes, image.pixel_size_um)
            )

    def add(self, t: int, z: int | str, prediction: Prediction) -> None:
        """Add the density of a plane."""
        if self._several is not None:
            self._several.add(t, z, prediction)
        elif self.task.density is not None:
            self._single = prediction

    def add_dots(self, dots: Dots, t: int, z: NDArray[np.int64]) -> None:
        """Add the dots of a time point."""
        if self.task.dots is None:
            return
        self._dots.append(replace(dots, t=np.full(len(dots), t, dtype=np.int64), z=z))

    def write(self) -> None:
        """Write all, if any time point was counted."""
        if self.task.dots is not None and self._dots:
            write_dots(self.task.dots, join_dots(self._dots))
        if self._several is not None:
            self._several.finish()
        elif self.task.density is not None and self._single is not None:
            write_density(self.task.density, self._single, self._image.pixel_size_um)


def _telling(words: str, *names: str) -> Callable[[Progress], Progress]:
    """Tell steps of a part with what they are steps of."""
    done, total = names
    return lambda step: Progress(0, 0, words, {done: float(step.done), total: float(step.total)})


def _run(planes: Sequence[int]) -> str:
    first, last = planes[0], planes[-1]
    return f"z {first}" if first == last else f"z {first} to {last}"


def _stack_note(settings: Settings, planes: Sequence[int]) -> str:
    """Say what of a z stack was counted, where it is no single plane."""
    if settings.z_stack == "plane":
        return ""
    if len(planes) == 1:
        return "there is one z plane only"
    if settings.z_stack == "merged":
        return f"cells of {_run(planes)}, merged"
    return f"maximum projection of {_run(planes)}; cells hidden in it are in no interval"


def _time_note(image: Image, settings: Settings, planes: Sequence[int]) -> str:
    """Say that a stack has no time points, where a user asked for them."""
    depth = image.sizes.get("Z", 1)
    if "T" in image.axes or not settings.is_series or settings.z_stack != "plane" or depth == 1:
        return ""
    return f"it has no axis of time; of its {depth} z planes {_run(planes)} was counted"


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

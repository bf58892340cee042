"""An image of the project → the viewer: found among the open ones, or opened from its file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from celltally._napari.compat import camera, fit_view, from_file
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers.own import image_of, own_role
from celltally._napari.planes import axis_letters, key_of
from celltally.errors import UserError
from celltally.types import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from celltally._napari.saving import Saving
    from celltally.project.images import ImageEntry
    from celltally.project.store import Store
    from celltally.project.study import StudyRow

__all__ = ["MOST_OPEN", "Opening"]

logger = logging.getLogger(__name__)
#: A layer to be made: data, metadata, kind.
_Made = tuple[Any, dict[str, Any], str]
#: Images that stay open of those that were opened from the table: the newest.
MOST_OPEN = 8
#: Pixels of a side from which napari takes a last axis of 3 or 4 for colours.
_LEAST_RGB = 30
#: Pixels from which the contrast is taken from some of them.
_MANY = 4_000_000
#: Pixels of which it is taken then, along each axis.
_SOME = 1000


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An open layer that came from no file, and how to hash it."""

    key: str
    hash_pixels: Callable[[], str]


@dataclass(frozen=True, eq=False)
class _Found:
    """What a job found: an open layer, or layers of a file; and a region's corners."""

    key: str | None = None
    layers: tuple[_Made, ...] = ()
    corners: NDArray[np.float64] | None = None


class Opening(QObject):
    """Brings images of the project into view, one after the other.

    Other images are hidden meanwhile, with what we show of them, and come back with them. Of
    the images that were opened here only the newest stay open; what was done to the others is
    in the project.

    Parameters
    ----------
    viewer
        Where to.
    jobs
        Of the widget.
    saving
        That of the window: nothing is closed that it has not saved.
    """

    #: The row whose image is in view now.
    opened = Signal(object)
    #: Why one could not be opened, in a sentence.
    failed = Signal(str)

    def __init__(self, viewer: Any, jobs: Jobs, saving: Saving) -> None:
        super().__init__()
        self._viewer, self._jobs, self._saving = viewer, jobs, saving
        self._job: Job | None = None
        self._ours: list[str] = []
        self._hidden: dict[str, set[str]] = {}

    @property
    def busy(self) -> bool:
        """Whether an image is being opened."""
        return self._job is not None and self._job.running

    def open(self, row: StudyRow) -> None:
        """Bring the image of a row into view; what was being opened before is left."""
        if self._job is not None:
            self._job.abandon()
        store = self._saving.store
        if store is None:
            return
        entry = row.entry
        layer = self._open_file(entry)
        candidates = [] if layer is not None else self._candidates(entry)
        known = None if layer is None else key_of(layer)
        self._job = self._jobs.start(
            lambda: _find_job(store, row, known, candidates),
            on_done=lambda found: self._show(row, found),
            on_failed=lambda error: self.failed.emit(sentence(error)),
        )

    def _images(self) -> Iterable[Image]:
        return (
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and own_role(layer) is None
        )

    def _open_file(self, entry: ImageEntry) -> Image | None:
        """Return the layer that shows an image's file, if it is open."""
        if entry.path is None:
            return None
        here = [layer for layer in self._images() if _path_of(layer) == entry.path]
        return next((one for one in here if self._scene(one) == entry.scene), None)

    def _scene(self, layer: Image) -> str | None:
        return self._saving.known_as(layer).scene

    def _candidates(self, entry: ImageEntry) -> list[_Candidate]:
        """Open layers that may be an image that came from no file."""
        if entry.path is not None:
            return []
        found = [(layer, self._saving.known_as(layer)) for layer in self._images()]
        return [
            _Candidate(key_of(layer), image.hash_pixels)
            for layer, image in found
            if image.path is None and entry.shape in (None, image.shape)
        ]

    # ---- show ----

    def _show(self, row: StudyRow, found: _Found) -> None:
        layers = self._viewer.layers
        layer = next((one for one in layers if key_of(one) == found.key), None)
        if layer is None:
            if not found.layers:
                self.failed.emit(f"{row.entry.name} was closed; press Enter again.")
                return
            layer = self._add(row.entry, found)
            if layer is None:
                self.failed.emit(f"{row.entry.path} holds no image; choose another file.")
                return
        key = key_of(layer)
        if key in self._ours:
            self._ours.remove(key)
            self._ours.append(key)
        self._bring(layer)
        self._go_to(layer, row, found.corners)
        self._close_old()
        self.opened.emit(row)

    def _add(self, entry: ImageEntry, found: _Found) -> Any:
        """Add the layers of a file; return the one that is asked for."""
        with from_file(entry.path):
            made = [Layer.create(*each) for each in found.layers]
        added = [self._viewer.add_layer(layer) for layer in made]
        images = [layer for layer in added if isinstance(layer, Image)]
        if not images:
            return None
        layer = next((one for one in images if self._scene(one) == entry.scene), images[0])
        self._ours.append(key_of(layer))
        fit_view(self._viewer, [layer])
        return layer

    def _bring(self, layer: Any) -> None:
        """Show an image, with what we showed of it, and hide the others."""
        key, path = key_of(layer), _path_of(layer)
        together = {key_of(one) for one in self._images() if path and _path_of(one) == path}
        together.add(key)
        for other in list(self._viewer.layers):
            role = own_role(other)
            if role is None and not isinstance(other, Image):
                continue
            owner = key_of(other) if role is None else image_of(other)
            if other.visible and owner is not None and owner not in together:
                self._hidden.setdefault(owner, set()).add(key_of(other))
                other.visible = False
        again = set().union(*(self._hidden.pop(one, set()) for one in together))
        for other in list(self._viewer.layers):
            if key_of(other) in again:
                other.visible = True
        layer.visible = True
        self._viewer.layers.selection.active = layer

    def _go_to(self, layer: Any, row: StudyRow, corners: NDArray[np.float64] | None) -> None:
        """Move the sliders to the plane of a row, and the view to its region."""
        figures, letters = row.figures, axis_letters(layer)
        position = np.asarray(layer.world_to_data(self._viewer.dims.point[-layer.ndim :]), float)
        wanted = {"T": figures.t}
        if figures.z_method == "plane":
            wanted["Z"] = figures.z
        for letter, index in wanted.items():
            if letter in letters:
                position[letters.index(letter)] = index
        if corners is not None:
            position[-2:] = corners.mean(axis=0)
        world = np.asarray(layer.data_to_world(position), float)
        first = self._viewer.dims.ndim - layer.ndim
        for axis in range(layer.ndim - 2):
            self._viewer.dims.set_point(first + axis, world[axis])
        if corners is not None:
            camera(self._viewer).center = tuple(world[-3:])

    def _close_old(self) -> None:
        """Close the oldest images that were opened here, once all is saved."""
        layers, saving = self._viewer.layers, self._saving
        there = {key_of(layer) for layer in layers}
        self._ours = [key for key in self._ours if key in there]
        if saving.trouble or saving.read_only or saving.busy:
            return
        while len(self._ours) > MOST_OPEN:
            key = self._ours.pop(0)
            self._hidden.pop(key, None)
            ours = [layer for layer in layers if image_of(layer) == key]
            for layer in (*ours, *(layer for layer in list(layers) if key_of(layer) == key)):
                layers.remove(layer)


def _path_of(layer: Any) -> Path | None:
    path = getattr(getattr(layer, "source", None), "path", None)
    return None if path is None else Path(str(path)).absolute()


# ---- beside the window ----


def _find_job(
    store: Store, row: StudyRow, known: str | None, candidates: list[_Candidate]
) -> Generator[Progress, None, _Found]:
    """Find an image: an open layer, or the layers of its file."""
    yield Progress(0, 0, f"opening {row.entry.name}")
    entry, corners = row.entry, _corners(store, row)
    if known is not None:
        return _Found(known, corners=corners)
    if entry.path is None:
        for candidate in candidates:
            yield Progress(0, 0, f"looking for {entry.name}")
            if candidate.hash_pixels() == entry.pixel_sha256:
                return _Found(candidate.key, corners=corners)
        raise UserError(
            f"{entry.name} came from no file and is not open; open it in napari as before: "
            "it is known again by its pixels"
        )
    if not entry.path.exists():
        raise UserError(
            f"{entry.path} is not there any more; press “Find moved files…” and choose the "
            "folder where it is now"
        )
    return _Found(layers=tuple(_read(entry)), corners=corners)


def _corners(store: Store, row: StudyRow) -> NDArray[np.float64] | None:
    from celltally.project.work import load_regions

    if not row.is_region:
        return None
    regions = load_regions(store, row.entry.id)
    return next((r.polygon for r in regions if r.id == row.figures.region_id), None)


def _read(entry: ImageEntry) -> list[_Made]:
    """Read a file as napari would; ourselves where it cannot, or not the scene that is wanted."""
    path = entry.path
    assert path is not None
    made = _read_by_plugin(path)
    named = [name for _, meta, _ in made for name in np.atleast_1d(meta.get("name"))]
    if not made or (entry.scene is not None and entry.scene not in named):
        made = [_read_by_us(entry)]
    for data, meta, kind in made:
        if kind == "image":
            # As napari calls a layer of a file; its source tells the rest.
            meta.setdefault("name", path.stem)
            _set_scale(data, meta, entry)
            if isinstance(data, np.ndarray) and "contrast_limits" not in meta:
                _set_contrast(data, meta)
    return made


def _read_by_plugin(path: Path) -> list[_Made]:
    """Read a file with napari's plugins; none where no one can."""
    from npe2 import read

    try:
        layers = read([str(path)], stack=False)
    except Exception:  # of any plugin; ours says what is wrong
        logger.info("no plugin of napari reads %s", path, exc_info=True)
        return []
    return [_whole(layer) for layer in layers if layer[0] is not None]


def _whole(layer: Any) -> _Made:
    """Give a layer that a reader left without metadata or kind both."""
    data, meta, kind = (*layer, *({}, "image")[len(layer) - 1 :])
    return data, dict(meta or {}), str(kind)


def _read_by_us(entry: ImageEntry) -> _Made:
    from celltally.io import read_image

    image = read_image(entry.path, scene=entry.scene)
    labels = tuple(axis.lower() for axis in image.axes if axis != "S")
    meta: dict[str, Any] = {"rgb": image.is_rgb, "axis_labels": labels}
    if entry.scene is not None:
        meta["name"] = entry.scene
    return np.asarray(image.data[...]), meta, "image"


def _set_scale(data: Any, meta: dict[str, Any], entry: ImageEntry) -> None:
    """Give an image the size of a pixel that the project knows, where its reader gave none."""
    size, shape = entry.pixel_size_um, getattr(data, "shape", ())
    if size is None or {"scale", "affine", "channel_axis"} & set(meta) or len(shape) < 2:
        return
    if meta.get("rgb") is None:  # as napari guesses it
        meta["rgb"] = len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > _LEAST_RGB
    lead = len(shape) - 2 - bool(meta["rgb"])
    if lead >= 0:
        meta["scale"] = (*(1.0,) * lead, *size)
        meta["units"] = (*("pixel",) * lead, "um", "um")


def _set_contrast(data: NDArray[Any], meta: dict[str, Any]) -> None:
    """Look for the contrast here: in the window it would take too long for a large image."""
    if data.ndim < 2 or data.size < _MANY or data.shape[-1] in (3, 4):
        return
    step = tuple(slice(None, None, max(1, n // _SOME)) for n in data.shape[-2:])
    some = data[(..., *step)]
    low, high = float(some.min()), float(some.max())
    if np.isfinite(low) and np.isfinite(high) and low < high:
        meta["contrast_limits"] = (low, high)

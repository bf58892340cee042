"""Counting, of which every image is kept in a file, so that a stopped run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celltally import zoo
from celltally.density import dots_from_prediction
from celltally.errors import UserError
from celltally.record import ModelRecord, canonical_json, read_record, sha256_of

if TYPE_CHECKING:
    from celltally.model import Model

__all__ = ["Counted", "Counter"]


@dataclass(frozen=True, eq=False)
class Counted:
    """What a model said of an image.

    Attributes
    ----------
    density
        ``(h, w)`` float32, cells per density cell, over all classes.
    step, origin
        Height and width of a density cell and corner of the first one, as in ``Grid``.
    image_shape
        ``(H, W)`` of the image in pixels.
    diameter_px
        Cell diameter that was counted with.
    dots
        ``(n, 2)`` float64, positions of the found cells.
    """

    density: NDArray[np.float32]
    step: tuple[float, float]
    origin: tuple[float, float]
    image_shape: tuple[int, int]
    diameter_px: float
    dots: NDArray[np.float64]

    @property
    def count(self) -> float:
        """Integral of the density, never below zero."""
        return max(float(self.density.sum(dtype=np.float64)), 0.0)


class Counter:
    """A model that counts no image twice with the same diameter.

    Parameters
    ----------
    folder
        Of the model.
    kept
        Folder of what was counted.
    device
        See ``predict``.
    """

    def __init__(self, folder: Path, kept: Path, device: str) -> None:
        self.folder, self.kept, self.device = folder, kept, device
        self.record: ModelRecord = read_record(folder)
        try:
            kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"folder {kept} cannot be made ({str(error.strerror).lower()}); choose another "
                "--out"
            ) from None

    @property
    def label(self) -> str:
        """Name and identity of the model, for readers."""
        return f"`{self.record.name}` ({self.record.sha256[:12]})"

    @cached_property
    def model(self) -> Model:
        """Loaded when the first image has to be counted."""
        return zoo.load(self.folder)

    def count(self, pixels: NDArray[np.generic], diameter_px: float | None) -> Counted:
        """Count a plane; a diameter of None is estimated."""
        about = [self.record.sha256, str(pixels.dtype), list(pixels.shape), diameter_px]
        name = sha256_of(canonical_json(about) + pixels.tobytes())
        path = self.kept / f"{name[:32]}.npz"
        if not path.is_file():
            _write(path, self._predict(pixels, diameter_px))
        return _read(path)

    def _predict(self, pixels: NDArray[np.generic], diameter_px: float | None) -> Counted:
        from celltally.predict import predict

        said = predict(self.model, pixels, diameter_px=diameter_px, device=self.device)
        return Counted(
            density=said.density.sum(axis=0),
            step=said.grid.step,
            origin=said.grid.origin,
            image_shape=said.image_shape,
            diameter_px=said.diameter_px,
            dots=dots_from_prediction(said).yx,
        )


def _write(path: Path, counted: Counted) -> None:
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            density=counted.density,
            step=counted.step,
            origin=counted.origin,
            image_shape=counted.image_shape,
            diameter_px=counted.diameter_px,
            dots=counted.dots,
        )
    unfinished.replace(path)


def _read(path: Path) -> Counted:
    with np.load(path, allow_pickle=False) as file:
        step, origin, shape = (file[name].tolist() for name in ("step", "origin", "image_shape"))
        return Counted(
            density=file["density"],
            step=(step[0], step[1]),
            origin=(origin[0], origin[1]),
            image_shape=(shape[0], shape[1]),
            diameter_px=float(file["diameter_px"]),
            dots=file["dots"],
        )

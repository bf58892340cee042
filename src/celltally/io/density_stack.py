"""Densities of several planes in one file: a float32 hyperstack, as ImageJ reads it."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import reason
from celltally.io.density import density_facts
from celltally.types import Prediction

__all__ = ["DensityStack"]

#: ImageJ's own stacks end here.
_LARGEST_BYTES = 2**32 - 2**16


class DensityStack:
    """A file of densities that grows by a plane; use it as a context.

    The file has the axes T and Z, in the order in which planes are added (the last z first,
    then t), and C where there are several classes. Each plane sums to the count of that plane;
    what the planes are stands in ImageJ's labels ("t 5, z 3"). A plane that could not be
    counted is all NaN. Planes wait in a temporary file, so that memory holds one only; the
    file itself appears when all of them are there.

    Parameters
    ----------
    path
        Where to; a file that is there is replaced only once all is written.
    times, planes
        Indices along t and z; for z also what else a plane is called, such as ``max``.
    pixel_size_um
        The image's ``(y, x)`` in micrometres.
    """

    def __init__(
        self,
        path: Path,
        times: Sequence[int],
        planes: Sequence[int | str],
        pixel_size_um: tuple[float, float] | None = None,
    ) -> None:
        self._path = path
        self._places = [(t, z) for t in times for z in planes]
        self._sizes = (len(times), len(planes))
        self._pixel_size_um = pixel_size_um
        self._first: Prediction | None = None
        self._held: dict[tuple[int, int | str], int] = {}
        try:
            self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> DensityStack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._waiting.close()

    def add(self, t: int, z: int | str, prediction: Prediction) -> None:
        """Add the density of a plane.

        Raises
        ------
        UserError
            When the disk is full, or all planes are more than the format can hold.
        ValueError
            When its density has another shape than those before.
        """
        density = np.ascontiguousarray(prediction.density, dtype="<f4")
        if self._first is None:
            self._first = prediction
            if density.nbytes * len(self._places) > _LARGEST_BYTES:
                raise UserError(
                    f"the densities of {len(self._places)} planes of {prediction.image} do not fit "
                    f"into {self._path} (4 GB at most); count fewer planes at once, or leave the "
                    "densities out"
                )
        if density.shape != self._first.density.shape:
            raise ValueError("the densities of one image's planes differ in shape")
        try:
            self._waiting.seek(0, os.SEEK_END)
            self._held[t, z] = self._waiting.tell()
            self._waiting.write(density.tobytes())
        except OSError as error:
            raise self._unwritable(error) from error

    def finish(self) -> None:
        """Write the file, if any plane was counted.

        Raises
        ------
        UserError
            When it cannot be written.
        """
        if self._first is None:
            return
        import tifffile

        shape = self._first.density.shape
        classes = self._first.classes
        unit_y, unit_x = self._pixel_size_um or (1.0, 1.0)
        step = self._first.grid.step
        facts = density_facts(self._first) | {
            "quantity": "cells per pixel of this file; the sum over a plane is its count, "
            "and planes must not be summed",
        }
        several = len(classes) > 1
        labels = [
            f"t {t}, z {z}" + (f", {name}" if several else "")
            for t, z in self._places
            for name in classes
        ]
        metadata: dict[str, Any] = {
            "axes": "TZCYX" if several else "TZYX",
            "unit": "pixel" if self._pixel_size_um is None else "um",
            "Info": "\n".join(f"{key}: {value}" for key, value in facts.items()),
            "Labels": labels,
            **facts,
        }
        temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            tifffile.imwrite(
                temporary,
                self._maps(),
                shape=(*self._sizes, *(shape if several else shape[1:])),
                dtype=np.float32,
                imagej=True,
                resolution=(1 / (step[1] * unit_x), 1 / (step[0] * unit_y)),
                metadata=metadata,
            )
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except (OSError, ValueError, OverflowError) as error:
            raise self._unwritable(error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _maps(self) -> Iterator[NDArray[np.float32]]:
        """All maps in their order, read back one plane at a time."""
        assert self._first is not None
        shape = self._first.density.shape
        for place in self._places:
            if place not in self._held:
                yield from np.full(shape, np.nan, dtype=np.float32)
                continue
            self._waiting.seek(self._held[place])
            content = self._waiting.read(4 * int(np.prod(shape)))
            yield from np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)

    def _unwritable(self, error: Exception) -> UserError:
        return UserError(f"{self._path} cannot be written ({reason(error)}); choose another place")

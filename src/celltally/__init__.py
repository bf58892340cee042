"""Count cells in microscopy images: how many, how sure, where and why.

Importing the package loads neither torch nor Qt; every public name is fetched
from its room when it is first asked for.

>>> import celltally
>>> model = celltally.load_model("general")
>>> image = celltally.read_image("field_01.tif")
>>> prediction = celltally.predict(model, celltally.select_pixels(image))
>>> prediction.count, celltally.intervals.of(prediction)
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celltally import intervals
    from celltally.density import dots_from_prediction
    from celltally.diameter import estimate_diameter
    from celltally.errors import UserError
    from celltally.io import read_dots, read_image, select_pixels, write_density, write_dots
    from celltally.model import Model
    from celltally.predict import iter_predict, predict
    from celltally.types import (
        Calibration,
        Dots,
        Grid,
        Image,
        Interval,
        Prediction,
        Progress,
    )
    from celltally.zoo import available as available_models
    from celltally.zoo import load as load_model

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "Dots",
    "Grid",
    "Image",
    "Interval",
    "Model",
    "Prediction",
    "Progress",
    "UserError",
    "available_models",
    "dots_from_prediction",
    "estimate_diameter",
    "intervals",
    "iter_predict",
    "load_model",
    "predict",
    "read_dots",
    "read_image",
    "select_pixels",
    "write_density",
    "write_dots",
]

# Public name → (module, name there); a module of the same name where that is "".
_HOMES = {
    "Calibration": ("celltally.types", "Calibration"),
    "Dots": ("celltally.types", "Dots"),
    "Grid": ("celltally.types", "Grid"),
    "Image": ("celltally.types", "Image"),
    "Interval": ("celltally.types", "Interval"),
    "Model": ("celltally.model", "Model"),
    "Prediction": ("celltally.types", "Prediction"),
    "Progress": ("celltally.types", "Progress"),
    "UserError": ("celltally.errors", "UserError"),
    "available_models": ("celltally.zoo", "available"),
    "dots_from_prediction": ("celltally.density", "dots_from_prediction"),
    "estimate_diameter": ("celltally.diameter", "estimate_diameter"),
    "intervals": ("celltally.intervals", ""),
    "iter_predict": ("celltally.predict", "iter_predict"),
    "load_model": ("celltally.zoo", "load"),
    "predict": ("celltally.predict", "predict"),
    "read_dots": ("celltally.io", "read_dots"),
    "read_image": ("celltally.io", "read_image"),
    "select_pixels": ("celltally.io", "select_pixels"),
    "write_density": ("celltally.io", "write_density"),
    "write_dots": ("celltally.io", "write_dots"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    home = import_module(module)
    value = getattr(home, attribute) if attribute else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, in which ``predict`` is the function, whoever was imported first.

    Importing a submodule binds it to its name in the package. Without this class
    ``celltally.predict`` would turn from the function into the module as soon as
    anything had imported ``celltally.predict``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name, ("", ""))[1]:
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

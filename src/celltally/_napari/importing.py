"""*File → IO Utilities*: files of dots, regions and densities, told by their content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari.layers import Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication, QFileDialog

from celltally._napari.jobs import sentence
from celltally._napari.reader import layers_of

__all__ = ["add_files", "import_files"]

_FILTER = (
    "Dots, regions and densities (*.csv *.tsv *.xml *.yml *.yaml *.zip *.roi *.geojson *.json "
    "*.tif *.tiff);;All files (*)"
)


def import_files(viewer: Viewer) -> None:
    """Ask for files, and add what is in them."""
    paths, _ = QFileDialog.getOpenFileNames(
        QApplication.activeWindow(), "Import dots, regions or a density", "", _FILTER
    )
    add_files(viewer, paths)


def add_files(viewer: Viewer, paths: Iterable[str]) -> None:
    """Add a layer or several for every file; what cannot be read is told in a sentence."""
    for path in paths:
        try:
            for data, settings, kind in layers_of(Path(path)):
                viewer.add_layer(Layer.create(data, settings, kind))
        except Exception as error:  # whatever it is, the window must go on
            show_error(sentence(error))

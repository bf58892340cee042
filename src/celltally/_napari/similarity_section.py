"""*Similarity*: the map of the chosen prototype, as a layer, where it is asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from qtpy.QtWidgets import QCheckBox, QPushButton

from celltally._napari.contributions_section import window_for
from celltally._napari.controls import Section, hint, wrapped
from celltally._napari.explainer import Explainer
from celltally._napari.explaining import most_cells
from celltally._napari.layers import (
    density_layer,
    keep,
    kept,
    show_similarity,
    similarity_layer,
)
from celltally._napari.layers.pointed import window_in_view
from celltally._napari.planes import key_of

__all__ = ["SimilaritySection"]


class SimilaritySection(Section):
    """Shows and hides the layer, and brings it to what is in view.

    Parameters
    ----------
    viewer
        Where it is shown.
    explainer
        Knows the similarities, or finds them out.
    """

    def __init__(self, viewer: Any, explainer: Explainer) -> None:
        super().__init__("Similarity to the chosen prototype")
        self._viewer, self._explainer = viewer, explainer
        self._number: int | None = None
        self.on = QCheckBox("Show as a layer")
        self.on.setToolTip(
            "A layer with the similarity of every place to the chosen prototype: clear where "
            "there is none. Of a large image it is computed for what is in view."
        )
        self.on.toggled.connect(self._toggled)
        self.again = QPushButton("Compare what is in view now")
        self.again.setToolTip("Compute the similarities of the part of the image that is in view.")
        self.again.clicked.connect(lambda: self._compare())
        self.words = wrapped(name="similarity_words")
        for part in (self.on, self.again, self.words):
            self.column.addWidget(part)
        self.refresh()

    def show_numbers(self, numbers: tuple[int, ...]) -> None:
        """Show the map of another prototype, the first of those chosen."""
        self._number = numbers[0] if numbers else None
        self._start()

    def _toggled(self, on: bool) -> None:
        subject = self._explainer.subject
        layer = None
        if subject is not None:
            layer = similarity_layer(self._viewer.layers, key_of(subject.layer))
        if layer is not None:
            layer.visible = on
            density = density_layer(self._viewer.layers, key_of(subject.layer))
            if density is not None:
                density.visible = not on
        self._start()

    def _start(self) -> None:
        """Show the map; where there is none yet, find it out."""
        asked = self.on.isChecked() and self._number is not None
        if asked and self._explainer.known.found is None and not self._explainer.running:
            self._compare()
        self.refresh()

    def _compare(self) -> None:
        subject, prototypes = self._explainer.subject, self._explainer.known.prototypes
        if subject is not None and prototypes is not None:
            window = window_for(subject, len(prototypes.kinds))
            self._explainer.compare(window, self.refresh)

    def refresh(self) -> None:
        """Show the map where it is asked for, or say what is missing."""
        subject, known = self._explainer.subject, self._explainer.known
        self._put_aside()
        large = False
        if subject is not None and known.prototypes is not None:
            cells = math.prod(subject.counted.prediction.grid.shape)
            large = cells > most_cells(len(known.prototypes.kinds))
        missing = subject is not None and known.found is None and not self._explainer.running
        self.again.setVisible(self.on.isChecked() and (large or missing))
        self.again.setEnabled(not self._explainer.running)
        if not self.on.isChecked() or subject is None:
            hint(self.words, "")
            return
        if self._number is None:
            hint(self.words, "Choose a prototype above.")
            return
        if known.found is None:
            running = self._explainer.running
            hint(self.words, "Comparing the image with the prototypes…" if running else "")
            return
        key = key_of(subject.layer)
        layer = similarity_layer(self._viewer.layers, key)
        shown = layer is not None and kept(layer, "found") is known.found
        if not (shown and kept(layer, "prototype") == self._number):
            layer = show_similarity(
                self._viewer, subject.layer, subject.counted.plane, known.found, self._number
            )
            keep(layer, counted=subject.counted)
        hint(self.words, self._said(layer, known.found, large))

    def _put_aside(self) -> None:
        """Hide the map of an earlier count; the density is seen again in its place."""
        subject = self._explainer.subject
        if subject is None:
            return
        layer = similarity_layer(self._viewer.layers, key_of(subject.layer))
        if layer is not None and layer.visible and kept(layer, "counted") is not subject.counted:
            layer.visible = False
            density = density_layer(self._viewer.layers, key_of(subject.layer))
            if density is not None:
                density.visible = True

    def _said(self, layer: Any, found: Any, large: bool) -> str:
        greatest = float(found.values[found.prototypes.index(self._number)].max())
        words = [f"Clear is 0, the brightest {greatest:.1f}."]
        subject = self._explainer.subject
        if large and subject is not None:
            window = window_in_view(subject.layer, subject.counted.plane)
            cells = found.grid.to_cells([window[:2], window[2:]])
            if (cells < -1).any() or (cells > np.asarray(found.grid.shape) + 1).any():
                words.append("Only a part of what is in view was compared.")
        return " ".join(words)

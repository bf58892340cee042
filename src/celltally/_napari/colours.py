"""Colours and symbols of our layers. A dot's state is its symbol, its class its colour."""

from __future__ import annotations

from collections.abc import Sequence

from napari.utils import Colormap

__all__ = ["BORDER", "DENSITY", "RING", "SALIENCY", "STATE_SYMBOLS", "class_colours"]

#: Ever lighter from violet to pale yellow (so that it reads in grey, too), and
#: clear where there is nothing, so that the image stays visible.
DENSITY = Colormap(
    [
        [0.35, 0.05, 0.50, 0.00],
        [0.58, 0.10, 0.52, 0.38],
        [0.84, 0.22, 0.40, 0.55],
        [0.96, 0.45, 0.20, 0.64],
        [0.99, 0.72, 0.25, 0.72],
        [1.00, 0.94, 0.65, 0.78],
    ],
    name="celltally density",
    controls=[0.0, 0.1, 0.3, 0.55, 0.8, 1.0],
)

#: From blue to lime in equal steps of lightness (CIELAB, 31 to 90) and ever less clear: no
#: colour of the density, and seen on dark and on bright images, where light that is added
#: would turn white.
SALIENCY = Colormap(
    [
        [0.00, 0.27, 0.64, 0.00],
        [0.00, 0.43, 0.70, 0.25],
        [0.00, 0.58, 0.71, 0.50],
        [0.00, 0.72, 0.66, 0.68],
        [0.00, 0.87, 0.50, 0.80],
        [0.72, 0.96, 0.24, 0.88],
    ],
    name="celltally saliency",
)

STATE_SYMBOLS = {
    "proposed": "disc",
    "confirmed": "square",
    "added": "diamond",
    "moved": "triangle_up",
    "removed": "x",
}

#: Round every dot, so that it shows on light images, too.
BORDER = "#10202b"
#: The ring that shows the cell diameter.
RING = "#ffe14d"

#: Told apart with any kind of colour vision, on black, on white and on the
#: density's warm colours; blue comes first.
_CLASSES = ("#2fd6ff", "#7cf29c", "#f5f5f5", "#ff9ff3", "#ffe14d", "#9aa8ff")


def class_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for every class, by name; ``cell`` has the first."""
    ordered = sorted(set(labels), key=lambda label: (label != "cell", label))
    return {label: _CLASSES[i % len(_CLASSES)] for i, label in enumerate(ordered)}

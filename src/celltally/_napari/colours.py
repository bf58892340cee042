"""Colours and symbols of our layers. A dot's state is its symbol, its class its colour."""

from __future__ import annotations

from collections.abc import Sequence

from napari.utils import Colormap

from celltally.types import RegionKind

__all__ = [
    "BORDER",
    "DENSITY",
    "EDGE_IN",
    "EDGE_OUT",
    "KINDS",
    "PLACE",
    "REGIONS",
    "RING",
    "SALIENCY",
    "SIMILARITY",
    "STATE_SYMBOLS",
    "UNCERTAINTY",
    "class_colours",
]

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

#: Kinds of prototypes, seen on dark and on bright images; the word always stands beside it.
KINDS = {"cell": "#ff5a4d", "background": "#4da3ff"}
#: The place whose density is explained.
PLACE = "#ffffff"

#: Of a similarity map, by the kind of its prototype: clear where there is none.
SIMILARITY = {
    kind: Colormap(
        [[*dark, 0.0], [*dark, 0.3], [*colour, 0.75], [*light, 0.95]],
        name=f"celltally {kind} similarity",
        controls=[0.0, 0.15, 0.5, 1.0],
    )
    for kind, dark, colour, light in (
        ("cell", (0.65, 0.0, 0.08), (1.0, 0.35, 0.3), (1.0, 0.9, 0.85)),
        ("background", (0.0, 0.22, 0.7), (0.3, 0.64, 1.0), (0.85, 0.95, 1.0)),
    )
}

#: From violet to a pale pink in equal steps of lightness (CIELAB): where it is light, the
#: count is least sure.
UNCERTAINTY = Colormap(
    [
        [0.24, 0.10, 0.52, 0.00],
        [0.44, 0.18, 0.62, 0.30],
        [0.66, 0.27, 0.65, 0.50],
        [0.87, 0.37, 0.63, 0.64],
        [0.98, 0.54, 0.67, 0.74],
        [1.00, 0.74, 0.80, 0.82],
    ],
    name="celltally uncertainty",
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
#: Outline and inside of a region, by its kind; what is excluded is darkened.
REGIONS: dict[RegionKind, tuple[str, str]] = {
    "count": ("#3ddc84", "#3ddc8400"),
    "reviewed": ("#5aa9ff", "#5aa9ff18"),
    "exclude": ("#ff5a4f", "#000000a0"),
    "tissue": ("#d0a8ff", "#d0a8ff00"),
    "audit": ("#ffb020", "#ffb02018"),
}
#: The ring that shows the cell diameter.
RING = "#ffe14d"
#: Edges of a counting frame: what lies on the first is in, on the second out. Told apart
#: with any kind of colour vision, on black and on white.
EDGE_IN, EDGE_OUT = "#1e88e5", "#ff8f00"

#: Told apart with any kind of colour vision, on black, on white and on the
#: density's warm colours; blue comes first.
_CLASSES = ("#2fd6ff", "#7cf29c", "#f5f5f5", "#ff9ff3", "#ffe14d", "#9aa8ff")


def class_colours(labels: Sequence[str], known: Sequence[str] = ()) -> dict[str, str]:
    """Return a colour for every class, by name; ``cell`` has the first.

    Parameters
    ----------
    labels
        Names, in any order and as often as there are dots.
    known
        Classes that come first, in this order: theirs do not change when another is added.
    """
    first = list(dict.fromkeys(known))
    rest = sorted(set(labels) - set(first), key=lambda label: (label != "cell", label))
    return {label: _CLASSES[i % len(_CLASSES)] for i, label in enumerate([*first, *rest])}

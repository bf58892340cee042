"""Prediction and Dots ⇄ layers, and where on the canvas these lie.

Nothing but our own layers is ever written to.
"""

from celltally._napari.layers.density import cover_of, density_layer, show_density
from celltally._napari.layers.dots import MOST_DOTS, dots_layer, points_of_file, show_dots
from celltally._napari.layers.edits import dots_of, dots_of_points, is_edited
from celltally._napari.layers.own import keep, kept, own_role, role_in
from celltally._napari.layers.ring import ring_layer, show_ring

__all__ = [
    "MOST_DOTS",
    "cover_of",
    "density_layer",
    "dots_layer",
    "dots_of",
    "dots_of_points",
    "is_edited",
    "keep",
    "kept",
    "own_role",
    "points_of_file",
    "ring_layer",
    "role_in",
    "show_density",
    "show_dots",
    "show_ring",
]

"""Prediction, Dots and Saliency ⇄ layers, and where on the canvas these lie.

Nothing but our own layers is ever written to.
"""

from celltally._napari.layers.density import cover_of, density_layer, show_density
from celltally._napari.layers.dots import MOST_DOTS, dots_layer, points_of_file, show_dots
from celltally._napari.layers.edits import dots_of, dots_of_points, is_edited
from celltally._napari.layers.own import image_of, keep, kept, own_role, role_in
from celltally._napari.layers.ring import ring_layer, show_ring
from celltally._napari.layers.saliency import saliency_layer, show_saliency

__all__ = [
    "MOST_DOTS",
    "cover_of",
    "density_layer",
    "dots_layer",
    "dots_of",
    "dots_of_points",
    "image_of",
    "is_edited",
    "keep",
    "kept",
    "own_role",
    "points_of_file",
    "ring_layer",
    "role_in",
    "saliency_layer",
    "show_density",
    "show_dots",
    "show_ring",
    "show_saliency",
]

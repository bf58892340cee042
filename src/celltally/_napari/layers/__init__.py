"""Prediction, Dots, regions and explanations ⇄ layers, and where on the canvas these lie.

Nothing but our own layers is ever written to.
"""

from celltally._napari.layers.audit import AuditLayers
from celltally._napari.layers.boxes import add_boxes, boxes_layer, clear_boxes, label_boxes
from celltally._napari.layers.density import cover_of, density_layer, show_density
from celltally._napari.layers.dots import (
    MOST_DOTS,
    dots_layer,
    points_of_file,
    set_next_dot,
    show_dots,
    update_dots,
)
from celltally._napari.layers.edits import dots_of, dots_of_points, is_edited
from celltally._napari.layers.marker import marker_layer, show_marker
from celltally._napari.layers.own import image_of, keep, kept, own_role, role_in
from celltally._napari.layers.regions import (
    all_regions_of,
    name_regions,
    region_layer,
    regions_of,
    rename_region,
    replace_regions,
    set_region_kind,
    set_regions,
    show_regions,
    state_count,
    tidy_regions,
)
from celltally._napari.layers.ring import ring_layer, show_ring
from celltally._napari.layers.saliency import saliency_layer, show_saliency
from celltally._napari.layers.similarity import show_similarity, similarity_layer
from celltally._napari.layers.uncertainty import (
    hide_uncertainty,
    show_uncertainty,
    uncertainty_layer,
)

__all__ = [
    "MOST_DOTS",
    "AuditLayers",
    "add_boxes",
    "all_regions_of",
    "boxes_layer",
    "clear_boxes",
    "cover_of",
    "density_layer",
    "dots_layer",
    "dots_of",
    "dots_of_points",
    "hide_uncertainty",
    "image_of",
    "is_edited",
    "keep",
    "kept",
    "label_boxes",
    "marker_layer",
    "name_regions",
    "own_role",
    "points_of_file",
    "region_layer",
    "regions_of",
    "rename_region",
    "replace_regions",
    "ring_layer",
    "role_in",
    "saliency_layer",
    "set_next_dot",
    "set_region_kind",
    "set_regions",
    "show_density",
    "show_dots",
    "show_marker",
    "show_regions",
    "show_ring",
    "show_saliency",
    "show_similarity",
    "show_uncertainty",
    "similarity_layer",
    "state_count",
    "tidy_regions",
    "uncertainty_layer",
    "update_dots",
]

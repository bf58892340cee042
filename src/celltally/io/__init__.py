"""Files in, files out: images, dots and densities; free of torch, Qt and napari."""

from __future__ import annotations

from celltally.io._axes import leading_axes
from celltally.io.channels import COLOURS, channel_names, guess_channel, select_pixels
from celltally.io.density import is_celltally_density, write_density
from celltally.io.density_read import StoredDensity, read_density, read_density_stack
from celltally.io.density_stack import DensityStack
from celltally.io.dots import (
    DOT_FORMATS,
    DotFormat,
    dot_format,
    format_for,
    is_celltally_dots,
    read_dots,
    recognised,
    what_is_lost,
    write_dots,
)
from celltally.io.ilastik import write_boxes
from celltally.io.images import IMAGE_SUFFIXES, find_images, list_scenes, read_image
from celltally.io.planes import iter_project, planes_along, project_pixels
from celltally.io.provenance import Provenance, read_provenance
from celltally.io.regions import read_regions, write_regions

__all__ = [
    "COLOURS",
    "DOT_FORMATS",
    "IMAGE_SUFFIXES",
    "DensityStack",
    "DotFormat",
    "Provenance",
    "StoredDensity",
    "channel_names",
    "dot_format",
    "find_images",
    "format_for",
    "guess_channel",
    "is_celltally_density",
    "is_celltally_dots",
    "iter_project",
    "leading_axes",
    "list_scenes",
    "planes_along",
    "project_pixels",
    "read_density",
    "read_density_stack",
    "read_dots",
    "read_image",
    "read_provenance",
    "read_regions",
    "recognised",
    "select_pixels",
    "what_is_lost",
    "write_boxes",
    "write_density",
    "write_dots",
    "write_regions",
]

"""Files in, files out: images, dots and densities; free of torch, Qt and napari."""

from __future__ import annotations

from celltally.io._axes import leading_axes
from celltally.io.channels import COLOURS, channel_names, guess_channel, select_pixels
from celltally.io.density import is_celltally_density, write_density
from celltally.io.dots import DOT_FORMATS, DotFormat, is_celltally_dots, read_dots, write_dots
from celltally.io.images import IMAGE_SUFFIXES, find_images, list_scenes, read_image
from celltally.io.regions import write_regions

__all__ = [
    "COLOURS",
    "DOT_FORMATS",
    "IMAGE_SUFFIXES",
    "DotFormat",
    "channel_names",
    "find_images",
    "guess_channel",
    "is_celltally_density",
    "is_celltally_dots",
    "leading_axes",
    "list_scenes",
    "read_dots",
    "read_image",
    "select_pixels",
    "write_density",
    "write_dots",
    "write_regions",
]

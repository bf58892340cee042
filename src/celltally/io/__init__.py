"""Files in, files out: images, dots and densities; free of torch, Qt and napari."""

from __future__ import annotations

from celltally.io.channels import channel_names, guess_channel, select_pixels
from celltally.io.density import write_density
from celltally.io.dots import DOT_FORMATS, DotFormat, read_dots, write_dots
from celltally.io.images import IMAGE_SUFFIXES, find_images, list_scenes, read_image

__all__ = [
    "DOT_FORMATS",
    "IMAGE_SUFFIXES",
    "DotFormat",
    "channel_names",
    "find_images",
    "guess_channel",
    "list_scenes",
    "read_dots",
    "read_image",
    "select_pixels",
    "write_density",
    "write_dots",
]

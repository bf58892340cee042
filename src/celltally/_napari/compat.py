"""What differs between the napari versions that we run on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["camera", "camera_events", "fit_view"]


def camera(viewer: Any) -> Any:
    """Return the viewer's camera, which moved in napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def camera_events(viewer: Any) -> Any:
    """Return the events of the viewer's camera."""
    return camera(viewer).events


def fit_view(viewer: Any, layers: Sequence[Any]) -> None:
    """Zoom so that layers fill the canvas; older versions can only show all layers."""
    try:
        viewer.reset_view(layers=layers)
    except TypeError:
        viewer.reset_view()

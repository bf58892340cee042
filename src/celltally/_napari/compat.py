"""What differs between the napari versions that we run on."""

from __future__ import annotations

from typing import Any

__all__ = ["camera", "camera_events"]


def camera(viewer: Any) -> Any:
    """Return the viewer's camera, which moved in napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def camera_events(viewer: Any) -> Any:
    """Return the events of the viewer's camera."""
    return camera(viewer).events

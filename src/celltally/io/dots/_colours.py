"""Colours of classes for programs that show them: those that our window has, too."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["class_colours"]

#: Told apart with any kind of colour vision, on black and on white; blue comes first.
_COLOURS = (
    (47, 214, 255),
    (124, 242, 156),
    (245, 245, 245),
    (255, 159, 243),
    (255, 225, 77),
    (154, 168, 255),
)


def class_colours(labels: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Return red, green and blue (0 to 255) for every class; ``cell`` has the first."""
    ordered = sorted(set(labels), key=lambda label: (label != "cell", label))
    return {label: _COLOURS[i % len(_COLOURS)] for i, label in enumerate(ordered)}

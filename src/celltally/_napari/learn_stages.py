"""The stages of a learning: what each is called, and which share of the whole it takes."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FROM_NOTHING", "LEARNING", "ROUND", "Stages", "said_of"]

#: Where each stage begins and ends in the whole, by what it says that it does.
Stages = Mapping[str, tuple[float, float]]

#: The stage whose pace tells how long the whole takes: its length is set, those before it
#: depend on how fast files are read.
LEARNING = "learning"
#: Of one round, as measured on two cores with ten regions of seven images.
ROUND: Stages = {
    "reading": (0.0, 0.08),
    "looking at what was learned before": (0.08, 0.13),
    "looking for cells of another kind": (0.13, 0.155),
    "looking at what was kept back": (0.155, 0.16),
    LEARNING: (0.16, 0.81),
    "placing the new prototypes": (0.81, 0.82),
    "refitting the last layer": (0.82, 0.92),
    "finding the prototypes' pictures": (0.92, 0.96),
    "comparing": (0.96, 1.0),
}
#: Of a model from nothing, which learns for minutes.
FROM_NOTHING: Stages = {
    "reading": (0.0, 0.02),
    LEARNING: (0.02, 0.94),
    "placing the new prototypes": (0.94, 0.95),
    "refitting the last layer": (0.95, 0.97),
    "finding the prototypes' pictures": (0.97, 0.98),
    "comparing": (0.98, 1.0),
}
#: What a biologist reads instead.
_WORDS = {
    "refitting the last layer": "weighing what was learned",
    "finding the prototypes' pictures": "choosing pictures",
}


def said_of(message: str) -> str:
    """Say in plain words what is being done."""
    return _WORDS.get(message, message)

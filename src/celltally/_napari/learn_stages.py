"""The stages of a learning: what each is called, and which share of the whole it takes."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FROM_NOTHING", "LEARNING", "ROUND", "Stages", "said_of"]

#: Where each stage begins and ends in the whole, by what it says that it does.
Stages = Mapping[str, tuple[float, float]]

#: The stage whose pace tells how long the whole takes: its length is set, those before it
#: depend on how fast files are read.
LEARNING = "learning"
#: Of one round, as measured on two cores with ten regions of six images.
ROUND: Stages = {
    "reading": (0.0, 0.12),
    LEARNING: (0.12, 0.78),
    "refitting the last layer": (0.78, 0.86),
    "finding the prototypes' pictures": (0.86, 0.91),
    "comparing": (0.91, 1.0),
}
#: Of a model from nothing, which learns for minutes.
FROM_NOTHING: Stages = {
    "reading": (0.0, 0.02),
    LEARNING: (0.02, 0.95),
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

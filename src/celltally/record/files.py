"""The files of a model folder: their names, their hashes, and how one takes another's place."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["canonical_json", "in_short", "put_back", "set_aside", "sha256_of"]

RECORD, WEIGHTS, CALIBRATION = "model.json", "weights.safetensors", "calibration.json"
CARD, PROTOTYPES = "README.md", "prototypes/prototypes.json"
#: Patches that are shown again while the model learns; the folder of the model that counts
#: what is unlike the images that this one learned from.
REPLAY, BASE = "replay.safetensors", "base"
PICKLED = (".pt", ".pth", ".pkl", ".ckpt")
#: Ends the hidden name of a model that is being replaced.
ASIDE = ".replaced"


def canonical_json(content: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal contents have equal hashes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def set_aside(folder: Path) -> Path:
    """Place where a model waits while a newer one takes its own."""
    return folder.parent / f".{folder.name}{ASIDE}"


def put_back(folder: Path) -> None:
    """Undo a replacement that was cut off when the older model was set aside already."""
    with suppress(OSError):  # where that cannot be, the folder is missing as it was
        if not folder.exists() and set_aside(folder).is_dir():
            set_aside(folder).rename(folder)


def in_short(error: Exception) -> str:
    """First line of what an error says, and its kind."""
    return f"{type(error).__name__}: {error}".splitlines()[0]

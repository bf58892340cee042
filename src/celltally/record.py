"""``model.json``: what a model folder says of itself. Free of torch, so quick to read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.types import Calibration

__all__ = [
    "FORMAT_VERSION",
    "ModelRecord",
    "PatchRecord",
    "PrototypeRecord",
    "TrainingSet",
    "canonical_json",
    "read_calibration",
    "read_prototypes",
    "read_record",
    "sha256_of",
]

FORMAT_VERSION = 1
RECORD, WEIGHTS, CALIBRATION = "model.json", "weights.safetensors", "calibration.json"
CARD, PROTOTYPES = "README.md", "prototypes/prototypes.json"
PICKLED = (".pt", ".pth", ".pkl", ".ckpt")
#: Entries of the record that hold names and values.
MAPPINGS = ("config", "preprocessing", "training", "metrics", "files")


@dataclass(frozen=True)
class TrainingSet:
    """A data set that a model was trained on.

    Attributes
    ----------
    name, licence
        As in its ``dataset.json``.
    images
        Number of images used.
    sha256
        Over the names and contents of images and labels.
    """

    name: str
    images: int
    licence: str
    sha256: str


@dataclass(frozen=True)
class PatchRecord:
    """Where an image patch that shows a prototype comes from.

    Attributes
    ----------
    dataset, image
        Names of the data set and of the image file.
    y, x
        Centre in image pixels.
    similarity
        Similarity of the patch to the prototype.
    png
        File in the folder ``prototypes``, or None where the licence of the data
        does not allow a copy.
    """

    dataset: str
    image: str
    y: float
    x: float
    similarity: float
    png: str | None = None


@dataclass(frozen=True)
class PrototypeRecord:
    """A prototype's kind and the training patches most similar to it, best first.

    The first patch is the one that the prototype was projected onto.
    """

    kind: str
    patches: tuple[PatchRecord, ...] = ()


@dataclass(frozen=True)
class ModelRecord:
    """The content of ``model.json``.

    Attributes
    ----------
    name
        Name of the model (the folder's name).
    sample
        In words, what it counts.
    network, config
        Registered name of the network, and its settings.
    channels
        Channels that the network is shown.
    preprocessing
        Constants of the normalisation.
    diameter_px
        Nominal cell diameter at model scale, in pixels.
    stride, halo
        Of the network, in pixels at model scale.
    parameters
        Number of weights.
    training_data
        What it was trained on.
    training
        Budget and settings: seed, steps, minutes, …
    metrics
        Figures on validation images, by data set.
    parent
        sha256 of the model that this one was made from, or None.
    sha256
        Identity: network, config, preprocessing, diameter and weights.
    created
        ISO date.
    celltally
        Version of the program.
    files
        sha256 of every other file of the folder.
    format_version
        Version of this record.
    path
        Folder that it was read from; not stored.
    """

    name: str
    network: str
    config: Mapping[str, Any]
    diameter_px: float
    preprocessing: Mapping[str, Any]
    stride: int
    halo: int | None
    parameters: int
    sample: str = ""
    channels: int = 3
    training_data: tuple[TrainingSet, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parent: str | None = None
    sha256: str = ""
    created: str = ""
    celltally: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    path: Path | None = None

    @property
    def licence(self) -> str:
        """Licences of the data that the weights were learned from, each once."""
        return "; ".join(dict.fromkeys(f"{s.name}: {s.licence}" for s in self.training_data))

    @property
    def is_calibrated(self) -> bool:
        """Whether the folder holds a calibration."""
        return CALIBRATION in self.files

    def to_json(self) -> str:
        """Write the file's text."""
        content = asdict(self)
        del content["path"]
        return json.dumps(content, indent=1, sort_keys=False) + "\n"


def canonical_json(content: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal contents have equal hashes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def read_record(folder: str | Path) -> ModelRecord:
    """Read and verify a model folder's record.

    Raises
    ------
    UserError
        When the folder is none of ours, is newer than this program, or a file of
        it is missing or altered.
    """
    folder = Path(folder)
    if folder.suffix in PICKLED:
        raise UserError(
            f"{folder.name} is a pickled checkpoint, which could run foreign code; "
            "give a Celltally model folder instead"
        )
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} is no model folder: it has no {RECORD}; give one that has")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = int(content["format_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this program reads up to {FORMAT_VERSION}; "
            "update celltally"
        )
    known = {f.name for f in fields(ModelRecord)} - {"path"}
    if unknown := sorted(set(content) - known):
        raise UserError(f"{path} has the unknown entry {unknown[0]!r}; copy the model again")
    try:
        content["training_data"] = tuple(TrainingSet(**s) for s in content["training_data"])
        record = ModelRecord(**content)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None
    if wrong := [name for name in MAPPINGS if not isinstance(getattr(record, name), dict)]:
        raise UserError(f"{path} has no table under {wrong[0]!r}; copy the model again")
    if not (isinstance(record.diameter_px, int | float) and 0 < record.diameter_px < math.inf):
        raise UserError(f"{path} states the diameter {record.diameter_px!r}; copy the model again")
    if WEIGHTS not in record.files:
        raise UserError(f"{path} lists no {WEIGHTS}; copy the model again")
    _verify(folder, record)
    # A folder that was copied under another name is found by that name.
    return replace(record, name=folder.resolve().name, path=folder)


def read_calibration(folder: Path) -> tuple[Calibration | None, str]:
    """Calibration of a model folder and its sha256; (None, "") where there is none."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None, ""
    data = path.read_bytes()
    try:
        content = json.loads(data)
        content["scores"] = tuple(float(s) for s in content["scores"])
        content["sets"] = tuple(content["sets"])
        content["ranges"] = {k: (float(v[0]), float(v[1])) for k, v in content["ranges"].items()}
        return Calibration(**content), sha256_of(data)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None


def read_prototypes(folder: Path) -> tuple[PrototypeRecord, ...]:
    """Prototypes of a model folder; empty where its network has none."""
    path = folder / PROTOTYPES
    if not path.is_file():
        return ()
    try:
        return tuple(
            PrototypeRecord(p["kind"], tuple(PatchRecord(**patch) for patch in p["patches"]))
            for p in json.loads(path.read_text(encoding="utf-8"))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None


def _verify(folder: Path, record: ModelRecord) -> None:
    root = folder.resolve()
    for name, digest in record.files.items():
        path = folder / name.replace("\0", "")
        if not path.resolve().is_relative_to(root):
            raise UserError(f"{folder / RECORD} names a file outside its folder: {name}")
        if not path.is_file():
            raise UserError(f"the model folder {folder} lacks {name}; copy the model again")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); mend that") from None
        if sha256_of(data) != digest:
            raise UserError(
                f"{path} is not the file that {RECORD} describes (it was altered or cut off); "
                "copy the model again"
            )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]

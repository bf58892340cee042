"""What a record says: of the model, of what taught it, and of its prototypes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from celltally.record.files import BASE, CALIBRATION, RECORD
from celltally.types import Appearances, Calibration, Known

__all__ = [
    "FORMAT_VERSION",
    "Learned",
    "ModelRecord",
    "PatchRecord",
    "PrototypeRecord",
    "TrainingSet",
    "known_of",
]

#: Raised whenever the same config and weights would count otherwise (2: the last upsampling
#: of `tally` is bilinear).
FORMAT_VERSION = 2
#: What chance alone does less often than this is told as a fact.
FIRM = 0.05
#: By whether learning helped, and whether that is told as a fact.
_VERDICTS = {
    (True, True): "It helped",
    (True, False): "It seems to have helped",
    (False, True): "It did not help",
    (False, False): "It does not seem to have helped",
}


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
class Learned:
    """What a child learned from.

    Attributes
    ----------
    project
        Name of the project or of the data set; "" where that is not known.
    by
        People who reviewed.
    date
        ISO date and time, to the minute, UTC.
    images
        Number of images that the regions lie in.
    regions, stated, excluded
        Regions that taught: with dots, with only a stated count, excluded ones.
    dots, corrected
        Dots in these regions; how many of them a person added, moved or removed.
    kept_back, audits
        Regions that judged: reviewed ones of images that taught nothing, and random ones.
    helped
        Whether these are counted better than by the parent; None where nothing judged, and for a
        model from nothing, which is compared with none.
    metrics
        Figures, such as ``mae_before``, ``mae_after``, ``audit_mae_before``,
        ``audit_mae_after`` (mean absolute errors of a region's count), ``p``, ``audit_p``
        (how often chance alone does that; left out where too few judge) and ``seconds``.
    new_prototypes
        Indices of the prototypes that were added.
    looks
        What the images look like that it learned from, or None where they show nothing.
    """

    project: str
    by: tuple[str, ...]
    date: str
    images: int
    regions: int
    stated: int
    excluded: int
    dots: int
    corrected: int
    kept_back: int
    audits: int
    helped: bool | None
    metrics: Mapping[str, float]
    new_prototypes: tuple[int, ...] = ()
    looks: Appearances | None = None

    @property
    def is_firm(self) -> bool:
        """Whether what decides if it helped is more than chance; the audits, if there are any."""
        return self.metrics.get("audit_p" if self.audits else "p", 1.0) < FIRM

    @property
    def verdict(self) -> str:
        """Say whether it helped, as firmly as the evidence is, without a full stop.

        Of a model from nothing, which is compared with none, how well it counts.
        """
        if self.helped is None:
            after = self.metrics.get("audit_mae_after" if self.audits else "mae_after")
            told = "Nothing tells how well it counts"
            return told if after is None else f"It is off by {after:.1f} cells a region"
        return _VERDICTS[self.helped, self.is_firm]


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
        What it and the models that it was made from were trained on.
    training
        Budget and settings: seed, steps, minutes, …
    metrics
        Figures on validation images, by data set.
    parent
        sha256 of the model that this one was made from, or None.
    learned
        What it learned from a person's corrections; None for a model that did not.
    sha256
        Identity: network, config, preprocessing, diameter and weights, and, of a model with a
        base, the base's identity and the looks that decide which of the two counts.
    taught_by, chosen_by
        First 16 digits of the sha256 of every image file that it or the models that it
        was made from learned from, and of those that chose its weights.
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
    learned: Learned | None = None
    sha256: str = ""
    taught_by: tuple[str, ...] = ()
    chosen_by: tuple[str, ...] = ()
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

    @property
    def new_prototypes(self) -> tuple[int, ...]:
        """Indices of the prototypes that it has and its parent had not."""
        return () if self.learned is None else self.learned.new_prototypes

    @property
    def has_base(self) -> bool:
        """Whether the folder holds another model that counts what this one did not learn."""
        return f"{BASE}/{RECORD}" in self.files

    def to_json(self) -> str:
        """Write the file's text."""
        content = asdict(self)
        del content["path"]
        if self.learned is None:  # as it was before there were children
            del content["learned"]
        return json.dumps(content, indent=1, sort_keys=False) + "\n"


def known_of(record: ModelRecord, calibration: Calibration | None) -> Known:
    """Return what the images look like that a model knows."""
    return Known(
        learned=None if record.learned is None else record.learned.looks,
        seen=None if calibration is None else calibration.appearances,
    )

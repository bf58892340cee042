"""``model.json``: what a model folder says of itself. Free of torch, so quick to read."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from reprlib import repr as shown
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from celltally.errors import UserError
from celltally.types import (
    Appearances,
    Audited,
    Calibration,
    Known,
    Neighbours,
    RegionBin,
    RegionCalibration,
)

__all__ = [
    "FORMAT_VERSION",
    "Learned",
    "ModelRecord",
    "PatchRecord",
    "PrototypeRecord",
    "TrainingSet",
    "calibration_json",
    "calibration_of_json",
    "canonical_json",
    "known_of",
    "put_back",
    "read_base",
    "read_calibration",
    "read_prototypes",
    "read_record",
    "set_aside",
    "sha256_of",
]

#: Raised whenever the same config and weights would count otherwise (2: the last upsampling
#: of `tally` is bilinear).
FORMAT_VERSION = 2
RECORD, WEIGHTS, CALIBRATION = "model.json", "weights.safetensors", "calibration.json"
CARD, PROTOTYPES = "README.md", "prototypes/prototypes.json"
#: Patches that are shown again while the model learns; the folder of the model that counts
#: what is unlike the images that this one learned from.
REPLAY, BASE = "replay.safetensors", "base"
PICKLED = (".pt", ".pth", ".pkl", ".ckpt")
#: Ends the hidden name of a model that is being replaced.
ASIDE = ".replaced"
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
        Whether these are counted better than by the parent; None where nothing was kept back.
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
        """Say whether it helped, as firmly as the evidence is, without a full stop."""
        if self.helped is None:
            return "Nothing tells whether it helped"
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


def read_record(folder: str | Path, *, own_name: bool = False) -> ModelRecord:
    """Read and verify a model folder's record.

    Parameters
    ----------
    folder
        The model folder.
    own_name
        Whether the model keeps the name that it was saved with and not the folder's.

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
    put_back(folder)
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} is no model folder: it has no {RECORD}; give one that has")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this program reads up to {FORMAT_VERSION}; "
            "update celltally"
        )
    if type(version) is int and version < FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}: its weights were made for a program that counts "
            f"otherwise than this one (version {FORMAT_VERSION}); train the model again"
        )
    expected = get_type_hints(ModelRecord)
    del expected["path"]
    if unknown := sorted(set(content) - set(expected)):
        raise UserError(f"{path} has the unknown entry {unknown[0]!r}; copy the model again")
    for name, value in content.items():
        if not _fits(value, expected[name]):
            raise UserError(f"{path} cannot have {shown(value)} as {name!r}; copy the model again")
    try:
        content["training_data"] = tuple(TrainingSet(**s) for s in content["training_data"])
        for name in ("taught_by", "chosen_by"):
            content[name] = tuple(content.get(name, ()))
        if (learned := content.get("learned")) is not None:
            content["learned"] = _learned(learned)
        record = ModelRecord(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None
    if not 0 < record.diameter_px <= sys.float_info.max:
        raise UserError(f"{path} states the diameter {record.diameter_px!r}; copy the model again")
    if not record.sha256:
        raise UserError(f"{path} states no sha256 of the model; copy the model again")
    if WEIGHTS not in record.files:
        raise UserError(f"{path} lists no {WEIGHTS}; copy the model again")
    try:
        _verify(folder, record)
    except (OSError, ValueError, RuntimeError) as error:  # names that no file can have, too
        raise UserError(f"{folder} cannot be read ({_short(error)}); mend that") from None
    # A folder that was copied under another name is found by that name.
    name = record.name if own_name else folder.resolve().name
    return replace(record, name=name, path=folder)


def read_base(record: ModelRecord) -> ModelRecord | None:
    """Record of the model that counts what a model did not learn; None where there is none.

    Raises
    ------
    UserError
        As ``read_record``.
    """
    if record.path is None or not record.has_base:
        return None
    return read_record(record.path / BASE, own_name=True)


def known_of(record: ModelRecord, calibration: Calibration | None) -> Known:
    """Return what the images look like that a model knows."""
    return Known(
        learned=None if record.learned is None else record.learned.looks,
        seen=None if calibration is None else calibration.appearances,
    )


def read_calibration(folder: Path) -> tuple[Calibration | None, str]:
    """Calibration of a model folder and its sha256; (None, "") where there is none."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None, ""
    data = path.read_bytes()
    try:
        return calibration_of_json(data), sha256_of(data)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None


def calibration_json(calibration: Calibration) -> bytes:
    """Return a calibration as a model folder keeps it; its sha256 is its hash."""
    return (json.dumps(asdict(calibration), indent=1) + "\n").encode()


def calibration_of_json(data: bytes) -> Calibration:
    """Read what ``calibration_json`` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        When it is something else.
    """
    content = json.loads(data)
    if not _fits(content, Calibration):
        raise ValueError("fields are missing, unknown or of another type")
    content["scores"] = tuple(float(s) for s in content["scores"])
    content["sets"] = tuple(content.get("sets", ()))
    ranges = content.get("ranges", {})
    content["ranges"] = {k: (float(v[0]), float(v[1])) for k, v in ranges.items()}
    if (known := content.get("neighbours")) is not None:
        content["neighbours"] = _neighbours(known)
    if (regions := content.get("regions")) is not None:
        content["regions"] = _regions(regions)
    if (audits := content.get("audits")) is not None:
        content["audits"] = Audited(**audits)
    if (known := content.get("appearances")) is not None:
        content["appearances"] = _appearances(known)
    return Calibration(**content)


def _neighbours(content: dict[str, Any]) -> Neighbours:
    known = Neighbours(
        names=tuple(content["names"]),
        least=tuple(content["least"]),
        points=tuple(tuple(point) for point in content["points"]),
        surprise=tuple(content["surprise"]),
    )
    of_look = len(known.least) - 2  # the last two are no figures of the appearance
    if {len(point) for point in known.points} != {len(known.least)} or of_look != len(known.names):
        raise ValueError("neighbours have other numbers of figures than least differences")
    if len(known.points) != len(known.surprise):
        raise ValueError("there are other numbers of neighbours than of surprises")
    return known


def _appearances(content: dict[str, Any]) -> Appearances:
    known = Appearances(
        names=tuple(content["names"]),
        least=tuple(content["least"]),
        points=tuple(tuple(point) for point in content["points"]),
        groups=tuple(content["groups"]),
    )
    if not known.points or {len(point) for point in known.points} != {len(known.names)}:
        raise ValueError("images are known by other numbers of figures than there are names")
    if len(known.least) != len(known.names) or len(known.groups) != len(known.points):
        raise ValueError("appearances have columns of other lengths")
    return known


def _learned(content: dict[str, Any]) -> Learned:
    tuples = {name: tuple(content.get(name, ())) for name in ("by", "new_prototypes")}
    looks = content.get("looks")
    return Learned(**content | tuples | {"looks": None if looks is None else _appearances(looks)})


def _regions(content: dict[str, Any]) -> RegionCalibration:
    bins = tuple(RegionBin(**b | {"scores": tuple(b["scores"])}) for b in content["bins"])
    if not bins or bins[0].low > 0 or any(not b.scores for b in bins):
        raise ValueError("bins of regions have no scores or do not begin at 0")
    return RegionCalibration(**content | {"bins": bins})


def read_prototypes(folder: Path) -> tuple[PrototypeRecord, ...]:
    """Prototypes of a model folder; empty where its network has none."""
    path = folder / PROTOTYPES
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not _fits(content, tuple[PrototypeRecord, ...]):
            raise ValueError("fields are missing, unknown or of another type")
        return tuple(
            PrototypeRecord(p["kind"], tuple(PatchRecord(**patch) for patch in p["patches"]))
            for p in content
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({_short(error)}); copy the model again") from None


def _fits(value: Any, hint: Any) -> bool:
    """Whether what JSON holds is of the type that a field is annotated with."""
    if hint is float:  # most of what there is
        return isinstance(value, int | float) and not isinstance(value, bool)
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in arguments)
    if get_origin(hint) is Mapping:
        return isinstance(value, dict) and all(_fits(v, arguments[1]) for v in value.values())
    if get_origin(hint) is Literal:
        return value in arguments
    if get_origin(hint) is tuple:
        return (
            isinstance(value, list)
            and (arguments[-1] is Ellipsis or len(value) == len(arguments))
            and all(_fits(v, arguments[0]) for v in value)
        )
    if is_dataclass(hint):
        types = _types_of(hint)
        needed = {
            f.name for f in fields(hint) if f.default is MISSING and f.default_factory is MISSING
        }
        return (
            isinstance(value, dict)
            and needed <= set(value) <= set(types)
            and all(_fits(value[name], types[name]) for name in value)
        )
    if isinstance(value, bool) or hint is Any:
        return hint in (bool, Any)
    return isinstance(value, hint)


#: Annotations of a dataclass's fields; read from their text once, not for every value.
_types_of: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _verify(folder: Path, record: ModelRecord) -> None:
    root = folder.resolve()
    for name, digest in record.files.items():
        path = folder / name.replace("\0", "")
        if not path.resolve().is_relative_to(root):
            raise UserError(f"{folder / RECORD} names a file outside its folder: {name}")
        if not path.is_file():
            raise UserError(f"the model folder {folder} lacks {name}; copy the model again")
        if sha256_of(path.read_bytes()) != digest:
            raise UserError(
                f"{path} is not the file that {RECORD} describes (it was altered or cut off); "
                "copy the model again"
            )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]

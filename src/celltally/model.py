"""A model: network + record + calibration + prototypes, saved as a folder (design §4)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from celltally import __version__, preprocess, scale
from celltally.card import render_card
from celltally.errors import UserError
from celltally.intervals import which_counts
from celltally.networks import CountingNetwork, build, config_of
from celltally.networks.registry import name_of
from celltally.record import (
    BASE,
    CALIBRATION,
    CARD,
    PROTOTYPES,
    RECORD,
    REPLAY,
    WEIGHTS,
    ModelRecord,
    PrototypeRecord,
    calibration_json,
    canonical_json,
    known_of,
    put_back,
    read_base,
    read_calibration,
    read_prototypes,
    read_record,
    set_aside,
    sha256_of,
)
from celltally.types import Calibration

__all__ = ["Model", "round_to_stored"]


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that is needed to count, and to say what counted.

    Attributes
    ----------
    network
        In evaluation mode, float32, on the CPU.
    record
        See ``ModelRecord``; its ``sha256`` is the model's identity.
    calibration, calibration_sha256
        None and "" for a model that was never calibrated.
    prototypes
        One record per prototype; empty where the network has none.
    pictures
        PNG files of the folder ``prototypes``, by name.
    base
        The model that counts images unlike those that this one learned from, so that
        learning from a few images spoils nothing elsewhere; None where this one counts all.
    replay
        Tensors that it is shown again while it learns (``learn.replay`` knows them); no part
        of its identity.
    """

    network: CountingNetwork
    record: ModelRecord
    calibration: Calibration | None = None
    calibration_sha256: str = ""
    prototypes: tuple[PrototypeRecord, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    base: Model | None = None
    replay: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.record.name

    @property
    def sha256(self) -> str:
        """Identity of the model."""
        return self.record.sha256

    @property
    def diameter_px(self) -> float:
        """Nominal cell diameter at model scale."""
        return self.record.diameter_px

    def counting(self, appearance: Mapping[str, float]) -> Model:
        """Return the model whose network counts an image: this one, its base, or that one's.

        Parameters
        ----------
        appearance
            What the image looks like (``celltally.appearance``); empty for one that shows
            nothing.
        """
        models = self.with_bases
        return models[which_counts([known_of(m.record, m.calibration) for m in models], appearance)]

    @property
    def with_bases(self) -> tuple[Model, ...]:
        """The model itself, its base, that one's base and so on."""
        return (self, *(() if self.base is None else self.base.with_bases))

    def made(self, model_sha256: str, calibration_sha256: str) -> bool:
        """Whether a count is this model's, by itself or by a base, told by its two hashes."""
        return model_sha256 == self.sha256 and calibration_sha256 in {
            model.calibration_sha256 for model in self.with_bases
        }

    @classmethod
    def from_network(
        cls,
        network: CountingNetwork,
        *,
        name: str,
        diameter_px: float,
        base: Model | None = None,
        replay: Mapping[str, Tensor] | None = None,
        **details: object,
    ) -> Model:
        """Make a model around a network, its weights rounded to what will be stored.

        Parameters
        ----------
        network
            Moved to the CPU and rounded in place to half precision.
        name, diameter_px
            See ``ModelRecord``.
        base, replay
            See ``Model``.
        details
            Further fields of ``ModelRecord``.
        """
        network = round_to_stored(network.cpu().float().eval())
        record = ModelRecord(
            name=name,
            network=name_of(network),
            config=config_of(network),
            diameter_px=float(diameter_px),
            preprocessing=_preprocessing(),
            stride=network.stride,
            halo=network.halo,
            parameters=sum(p.numel() for p in network.parameters()),
            celltally=__version__,
            **details,  # type: ignore[arg-type]
        )
        record = replace(record, sha256=_identity(record, network, base))
        return cls(network, record, base=base, replay=replay or {})

    def with_calibration(self, calibration: Calibration) -> Model:
        """Return the same model with another calibration; its identity stays."""
        return replace(
            self,
            calibration=calibration,
            calibration_sha256=sha256_of(calibration_json(calibration)),
        )

    def save(self, folder: str | Path) -> Model:
        """Write the model folder; it appears whole or not at all.

        An older model at the same place is replaced. Returns the model as it is
        stored there.

        Raises
        ------
        UserError
            When the place holds something that is no model, or cannot be written.
        """
        folder = Path(folder)
        put_back(folder)
        if _is_foreign(folder):
            raise UserError(f"{folder} exists and is no model folder; choose another place")
        files, record = self._files(folder.name)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temp:
                fresh = Path(temp) / "new"
                for name, data in files.items():
                    (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                    (fresh / name).write_bytes(data)
                _swap(fresh, folder, Path(temp))
        except OSError as error:
            reason = error.strerror or os.fspath(folder)
            raise UserError(f"the model cannot be written to {folder} ({reason})") from None
        return replace(self, record=replace(record, path=folder))

    def _files(self, name: str) -> tuple[dict[str, bytes], ModelRecord]:
        """Files of the model's folder, by name, and the record among them."""
        record = replace(self.record, name=name)
        files = {WEIGHTS: save(_stored(self.network))}
        if self.calibration is not None:
            files[CALIBRATION] = calibration_json(self.calibration)
        if self.prototypes:
            records = [asdict(p) for p in self.prototypes]
            files[PROTOTYPES] = (json.dumps(records, indent=1) + "\n").encode()
            files |= {f"prototypes/{name}": png for name, png in self.pictures.items()}
        if self.replay:
            files[REPLAY] = save({name: t.contiguous() for name, t in sorted(self.replay.items())})
        if self.base is not None:
            # It keeps its name, so that whoever reads the folder knows which model it was.
            older, _ = self.base._files(self.base.name)
            files |= {f"{BASE}/{name}": data for name, data in older.items()}
        base = None if self.base is None else self.base.record
        files[CARD] = render_card(record, self.calibration, base).encode()
        record = replace(record, files={name: sha256_of(data) for name, data in files.items()})
        files[RECORD] = record.to_json().encode()
        return files, record

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Read a model folder: record first, then the network, then its weights.

        Raises
        ------
        UserError
            When a file is missing, altered, or does not fit the others.
        """
        return cls._load(read_record(folder))

    @classmethod
    def _load(cls, record: ModelRecord) -> Model:
        """Load what a verified record describes; nothing else of the folder is read."""
        folder = record.path or Path()
        network = build(record.network, record.config)
        try:
            tensors = load_file(folder / WEIGHTS)
            network.load_state_dict({name: t.float() for name, t in tensors.items()})
        except (SafetensorError, RuntimeError, OSError) as error:
            line = str(error).splitlines()[0]
            raise UserError(
                f"{folder / WEIGHTS} does not fit the network {record.network!r} ({line}); "
                "copy the model again"
            ) from None
        network.eval()
        older = read_base(record)
        base = None if older is None else cls._load(older)
        if _identity(record, network, base) != record.sha256:
            raise UserError(
                f"{folder / RECORD} states another identity than its content has; "
                "copy the model again"
            )
        if differing := _differing(record.preprocessing, _preprocessing()):
            raise UserError(
                f"the model {record.name!r} was made with another preprocessing than this "
                f"program's ({differing}), so its counts would be wrong; count with celltally "
                f"{record.celltally or 'as it was then'} or train the model again"
            )
        calibration, digest = read_calibration(folder) if record.is_calibrated else (None, "")
        prototypes = read_prototypes(folder) if PROTOTYPES in record.files else ()
        return cls(
            network=network,
            record=record,
            calibration=calibration,
            calibration_sha256=digest,
            prototypes=prototypes,
            pictures=_read_pictures(record, prototypes),
            base=base,
            replay=_read_replay(record),
        )


def round_to_stored(network: CountingNetwork) -> CountingNetwork:
    """Round weights in place to what will be stored, half precision; return the network."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return network


def _preprocessing() -> dict[str, Any]:
    """How images are made ready for networks, as records tell it."""
    return {**preprocess.settings(), **scale.settings()}


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Name the first setting that differs, with both values; "" where none does."""
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            return f"{name}: {theirs.get(name)} against {ours.get(name)}"
    return ""


def _is_foreign(folder: Path) -> bool:
    """Whether a place holds something that a model must not replace."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not (isinstance(content, dict) and "format_version" in content)


def _swap(fresh: Path, folder: Path, rubbish: Path) -> None:
    """Put a fresh folder into the place of another, or leave that one as it is.

    Whatever ends the process between the two renames leaves the older model set aside;
    the next one to look for it puts it back.
    """
    old = set_aside(folder)
    if folder.exists():
        if old.exists():  # a process ended before it threw this away
            old.rename(rubbish / "older")
        folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        put_back(folder)
        raise
    if old.exists():
        old.rename(rubbish / "old")


def _read_pictures(record: ModelRecord, prototypes: Iterable[PrototypeRecord]) -> dict[str, bytes]:
    """Pictures by name; only files that the record lists (and has verified) are read."""
    folder = record.path or Path()
    pictures = {}
    for name in (p.png for prototype in prototypes for p in prototype.patches if p.png):
        if f"prototypes/{name}" not in record.files:
            raise UserError(
                f"{folder / PROTOTYPES} names the picture {name!r}, which {RECORD} does not list; "
                "copy the model again"
            )
        pictures[name] = (folder / "prototypes" / name).read_bytes()
    return pictures


def _read_replay(record: ModelRecord) -> dict[str, Tensor]:
    """Tensors that are shown again; empty where the record lists none."""
    if REPLAY not in record.files:
        return {}
    path = (record.path or Path()) / REPLAY
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged ({line}); copy the model again") from None


def _stored(network: CountingNetwork) -> dict[str, Tensor]:
    """Weights as they are stored: half precision, contiguous, sorted by name."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in sorted(network.state_dict().items())
    }


def _identity(record: ModelRecord, network: CountingNetwork, base: Model | None) -> str:
    """sha256 over what decides a count.

    Network, config, preprocessing, diameter, weights; with a base also that one's identity
    and the looks by which the one or the other counts.
    """
    content: dict[str, Any] = {
        "network": record.network,
        "config": dict(record.config),
        "preprocessing": dict(record.preprocessing),
        "diameter_px": record.diameter_px,
    }
    if base is not None:
        looks = None if record.learned is None else record.learned.looks
        content["base"] = base.sha256
        content["looks"] = None if looks is None else asdict(looks)
    weights = b"".join(
        canonical_json([name, str(t.dtype), list(t.shape)]) + t.numpy().tobytes()
        for name, t in _stored(network).items()
    )
    return sha256_of(canonical_json(content) + weights)

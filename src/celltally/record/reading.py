"""A model folder is read and verified: its record, that of its base, its prototypes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from reprlib import repr as shown
from typing import Any, get_type_hints

from celltally.errors import UserError
from celltally.record.calibration import appearances_of_json
from celltally.record.content import (
    FORMAT_VERSION,
    Learned,
    ModelRecord,
    PatchRecord,
    PrototypeRecord,
    TrainingSet,
)
from celltally.record.files import (
    BASE,
    PICKLED,
    PROTOTYPES,
    RECORD,
    WEIGHTS,
    in_short,
    put_back,
    sha256_of,
)
from celltally.record.fits import fits

__all__ = ["read_base", "read_prototypes", "read_record"]


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
        raise UserError(f"{path} is damaged ({in_short(error)}); copy the model again") from None
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
        if not fits(value, expected[name]):
            raise UserError(f"{path} cannot have {shown(value)} as {name!r}; copy the model again")
    try:
        content["training_data"] = tuple(TrainingSet(**s) for s in content["training_data"])
        for name in ("taught_by", "chosen_by"):
            content[name] = tuple(content.get(name, ()))
        if (learned := content.get("learned")) is not None:
            content["learned"] = _learned(learned)
        record = ModelRecord(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({in_short(error)}); copy the model again") from None
    if not 0 < record.diameter_px <= sys.float_info.max:
        raise UserError(f"{path} states the diameter {record.diameter_px!r}; copy the model again")
    if not record.sha256:
        raise UserError(f"{path} states no sha256 of the model; copy the model again")
    if WEIGHTS not in record.files:
        raise UserError(f"{path} lists no {WEIGHTS}; copy the model again")
    try:
        _verify(folder, record)
    except (OSError, ValueError, RuntimeError) as error:  # names that no file can have, too
        raise UserError(f"{folder} cannot be read ({in_short(error)}); mend that") from None
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


def read_prototypes(folder: Path) -> tuple[PrototypeRecord, ...]:
    """Prototypes of a model folder; empty where its network has none."""
    path = folder / PROTOTYPES
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not fits(content, tuple[PrototypeRecord, ...]):
            raise ValueError("fields are missing, unknown or of another type")
        return tuple(
            PrototypeRecord(p["kind"], tuple(PatchRecord(**patch) for patch in p["patches"]))
            for p in content
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({in_short(error)}); copy the model again") from None


def _learned(content: dict[str, Any]) -> Learned:
    tuples = {name: tuple(content.get(name, ())) for name in ("by", "new_prototypes")}
    looks = content.get("looks")
    return Learned(
        **content | tuples | {"looks": None if looks is None else appearances_of_json(looks)}
    )


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

"""``model.json``: what a model folder says of itself. Free of torch, so quick to read."""

from celltally.record.calibration import (
    calibration_json,
    calibration_of_json,
    read_calibration,
)
from celltally.record.content import (
    FORMAT_VERSION,
    Learned,
    ModelRecord,
    PatchRecord,
    PrototypeRecord,
    TrainingSet,
    known_of,
)
from celltally.record.files import (
    ASIDE,
    BASE,
    CALIBRATION,
    CARD,
    PICKLED,
    PROTOTYPES,
    RECORD,
    REPLAY,
    WEIGHTS,
    canonical_json,
    put_back,
    set_aside,
    sha256_of,
)
from celltally.record.reading import read_base, read_prototypes, read_record

__all__ = [
    "ASIDE",
    "BASE",
    "CALIBRATION",
    "CARD",
    "FORMAT_VERSION",
    "PICKLED",
    "PROTOTYPES",
    "RECORD",
    "REPLAY",
    "WEIGHTS",
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

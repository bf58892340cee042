"""Which images a model has seen, so that none of them judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample
from celltally.record import ModelRecord

__all__ = ["check_unseen", "image_hash", "image_hashes"]


def image_hash(sample: Sample) -> str:
    """First 16 digits of the sha256 of a sample's image file, whatever its name and labels."""
    return hashlib.sha256(sample.image.read_bytes()).hexdigest()[:16]


def image_hashes(samples: Iterable[Sample], others: Iterable[str] = ()) -> tuple[str, ...]:
    """Hashes of samples and those of others, sorted, each once."""
    return tuple(sorted({*others, *map(image_hash, samples)}))


def check_unseen(pairs: Sequence[tuple[Dataset, Sample]], record: ModelRecord, use: str) -> None:
    """Refuse images that a model or its ancestors have seen.

    Parameters
    ----------
    pairs
        What would judge the model.
    record
        The model's.
    use
        ``"validate"``, for which images must not have taught the model, or
        ``"calibrate"``, for which they must not have chosen its weights either.

    Raises
    ------
    UserError
        Names the first such image and says how many there are.
    """
    barred = {*record.taught_by, *(record.chosen_by if use == "calibrate" else ())}
    if not barred:
        return
    seen = [sample for _, sample in pairs if image_hash(sample) in barred]
    if seen:
        raise UserError(
            f"{len(seen)} of the {len(pairs)} images that would {use} the model "
            f"{record.name!r} helped to make it (such as {seen[0].image}), and errors on these "
            "say nothing of new images; give images that it has not seen"
        )

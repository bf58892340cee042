"""Which images a model has seen, so that none of them judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample
from celltally.record import ModelRecord

__all__ = ["check_unseen", "image_hash", "image_hashes", "is_among"]

#: Digits of a hash that are kept.
DIGITS = 16


def image_hash(sample: Sample) -> str:
    """First 16 digits of the sha256 of a sample's image file, whatever its name and labels."""
    return hashlib.sha256(sample.image.read_bytes()).hexdigest()[:DIGITS]


def image_hashes(samples: Iterable[Sample], others: Iterable[str] = ()) -> tuple[str, ...]:
    """Hashes of samples and those of others, sorted, each once.

    Of samples that were exported from other files (``Sample.made_from``) these files' as well:
    it is the same image.
    """
    return tuple(sorted({*others, *(h for sample in samples for h in _own(sample))}))


def is_among(sample: Sample, hashes: Collection[str]) -> bool:
    """Whether a sample, or the file that it was exported from, has one of some hashes."""
    return bool(hashes) and not _own(sample).isdisjoint(hashes)


def _own(sample: Sample) -> set[str]:
    return {image_hash(sample), sample.made_from.sha256[:DIGITS]} - {""}


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
    seen = [sample for _, sample in pairs if is_among(sample, barred)]
    if seen:
        raise UserError(
            f"{len(seen)} of the {len(pairs)} images that would {use} the model "
            f"{record.name!r} helped to make it (such as {seen[0].image}), and errors on these "
            "say nothing of new images; give images that it has not seen"
        )

"""What models counted: predictions, with all that is needed to go on with them later."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from celltally.project.packing import pack_dots, pack_map, unpack_dots, unpack_map
from celltally.project.schema import calibrations, images, maps, models, predictions
from celltally.project.store import Store, inserted, now
from celltally.record import calibration_json, calibration_of_json
from celltally.types import Dots, Grid, Interval, Prediction

__all__ = [
    "StoredCount",
    "add_prediction",
    "in_force",
    "latest_counts",
    "load_prediction",
    "replaces",
    "set_threshold",
]


@dataclass(frozen=True)
class StoredCount:
    """A count as it was made, without its maps.

    Attributes
    ----------
    id
        Number of the prediction in this project.
    image_id
        Of its image.
    t, z
        The plane that was counted.
    z_method
        ``plane``, ``projection`` (of all z) or ``merged`` (dots of all z).
    channel
        What was counted, in words; "" where there was no choice.
    model, model_sha256, calibration_sha256
        What counted.
    classes
        Of the cells.
    count, interval
        What the model said of the whole image, before corrections.
    diameter_px
        Cell diameter that it was counted with.
    threshold, default_threshold
        Least score of a dot: as it stands, and the one that makes dots ≈ count.
    in_distribution
        Whether the image is like those that the model knows; None: not told.
    seconds
        That it took.
    made
        When (ISO 8601, UTC).
    merged
        Planes (z) that were merged with this one; empty where none were, or all.
    """

    id: int
    image_id: int
    t: int
    z: int
    z_method: str
    channel: str
    model: str
    model_sha256: str
    calibration_sha256: str
    classes: tuple[str, ...]
    count: float
    interval: Interval
    diameter_px: float
    threshold: float
    default_threshold: float
    in_distribution: bool | None
    seconds: float
    made: str
    merged: tuple[int, ...] = ()


def add_prediction(
    store: Store,
    image_id: int,
    prediction: Prediction,
    interval: Interval,
    candidates: Dots,
    *,
    threshold: float,
    default_threshold: float | None = None,
    t: int = 0,
    z: int = 0,
    z_method: str = "plane",
    channel: str = "",
    in_distribution: bool | None = None,
    merged: Sequence[int] = (),
) -> int:
    """Keep a count; the maps of an earlier one of the same plane make room for its own.

    Parameters
    ----------
    candidates
        All dots that a threshold may pick from.
    merged
        Planes (z) that are merged with this one; empty for all that were counted so.

    Returns
    -------
    int
        Number of the prediction.
    """
    facts = {
        "grid": asdict(prediction.grid),
        "image_shape": list(prediction.image_shape),
        "statistics": dict(prediction.statistics),
        "appearance": dict(prediction.appearance),
        "notes": list(prediction.notes),
        "merged": list(merged),
    }
    density, variance = pack_map(prediction.density), pack_map(prediction.variance)
    dots = pack_dots(candidates)
    with store.write() as connection:
        row = predictions.insert().values(
            image_id=image_id,
            t=t,
            z=z,
            z_method=z_method,
            channel=channel,
            model_id=_model(connection, prediction),
            classes=json.dumps(prediction.classes),
            count=prediction.count,
            ci_low=_known(interval.low),
            ci_high=_known(interval.high),
            level=interval.level,
            interval_kind=interval.kind,
            interval_reason=interval.reason,
            diameter_px=prediction.diameter_px,
            threshold=_bounded(threshold),
            default_threshold=_bounded(
                threshold if default_threshold is None else default_threshold
            ),
            in_distribution=None if in_distribution is None else int(in_distribution),
            seconds=_known(prediction.seconds),
            facts=json.dumps(facts),
            made=now(),
        )
        number = inserted(connection, row)
        same = sa.select(predictions.c.id).where(
            predictions.c.image_id == image_id,
            predictions.c.t == t,
            predictions.c.z == z,
            predictions.c.z_method == z_method,
        )
        connection.execute(maps.delete().where(maps.c.prediction_id.in_(same)))
        connection.execute(
            maps.insert().values(
                prediction_id=number, density=density, variance=variance, candidates=dots
            )
        )
    return number


def _model(connection: sa.Connection, prediction: Prediction) -> int:
    """Find or add the model that counted; its calibration is kept, for intervals of regions."""
    identity = {
        "name": prediction.model,
        "sha256": prediction.model_sha256,
        "calibration_sha256": prediction.calibration_sha256,
    }
    connection.execute(insert(models).values(**identity).on_conflict_do_nothing())
    if prediction.calibration is not None and prediction.calibration_sha256:
        content = zlib.compress(calibration_json(prediction.calibration))
        row = insert(calibrations).values(sha256=prediction.calibration_sha256, content=content)
        connection.execute(row.on_conflict_do_nothing())
    query = sa.select(models.c.id).filter_by(**identity)
    return int(connection.execute(query).scalar_one())


def set_threshold(store: Store, prediction_id: int, threshold: float) -> None:
    """Keep where the threshold of a count stands."""
    with store.write() as connection:
        row = predictions.update().where(predictions.c.id == prediction_id)
        connection.execute(row.values(threshold=_bounded(threshold)))


def latest_counts(store: Store, image_ids: Sequence[int] | None = None) -> list[StoredCount]:
    """Return the newest count of every plane, of some images or of all.

    Sorted by image, t and z.
    """
    newest = sa.select(sa.func.max(predictions.c.id)).group_by(
        predictions.c.image_id, predictions.c.t, predictions.c.z, predictions.c.z_method
    )
    if image_ids is not None:
        # As one value: SQLite takes no more than 32,766 of them.
        wanted = sa.func.json_each(json.dumps(list(image_ids))).table_valued("value")
        newest = newest.where(predictions.c.image_id.in_(sa.select(wanted.c.value)))
    query = (
        sa.select(
            predictions,
            models.c.name.label("model"),
            models.c.sha256.label("model_sha256"),
            models.c.calibration_sha256,
        )
        .join(models, models.c.id == predictions.c.model_id)
        .where(predictions.c.id.in_(newest))
        .order_by(predictions.c.image_id, predictions.c.t, predictions.c.z, predictions.c.id)
    )
    with store.read() as connection:
        return [_stored(row) for row in connection.execute(query).mappings()]


def in_force(counts: Iterable[StoredCount]) -> list[StoredCount]:
    """Return the counts that hold, in their order: those that no later one took the place of.

    Of counts of the same plane, made in the same way, the newest is to be given only, as
    ``latest_counts`` does.
    """
    counts = list(counts)
    held: set[int] = set()
    # Counts later than the one that is looked at; of those that replace the same, one.
    later: dict[tuple[int, int], dict[tuple[str, tuple[int, ...]], StoredCount]] = {}
    for count in sorted(counts, key=lambda count: -count.id):
        of_time = later.setdefault((count.image_id, count.t), {})
        if not any(replaces(one, count.z_method, count.z) for one in of_time.values()):
            held.add(count.id)
        of_time.setdefault((count.z_method, count.merged), count)
    return [count for count in counts if count.id in held]


def replaces(count: StoredCount, z_method: str, z: int) -> bool:
    """Whether a count took the place of an earlier one of its time point, in another plane.

    A projection takes the place of planes, planes that of a projection, and planes that are
    merged that of all which are not merged with them.

    Parameters
    ----------
    count
        The later one.
    z_method, z
        How and where the earlier one was made.
    """
    return z_method != count.z_method or (bool(count.merged) and z not in count.merged)


def load_prediction(store: Store, count: StoredCount) -> tuple[Prediction, Dots] | None:
    """Return a count with its maps, and the dots that a threshold may pick from.

    None where a later count of the plane took its maps' place.
    """
    with store.read() as connection:
        row = connection.execute(
            sa.select(predictions.c.facts, maps, images.c.name)
            .join(maps, maps.c.prediction_id == predictions.c.id)
            .join(images, images.c.id == predictions.c.image_id)
            .where(predictions.c.id == count.id)
        ).first()
        if row is None:
            return None
        query = sa.select(calibrations.c.content)
        content = connection.execute(
            query.where(calibrations.c.sha256 == count.calibration_sha256)
        ).scalar()
    facts = json.loads(row.facts)
    grid = {name: tuple(values) for name, values in facts["grid"].items()}
    height, width = facts["image_shape"]
    prediction = Prediction(
        density=unpack_map(row.density),
        variance=unpack_map(row.variance),
        grid=Grid(**grid),
        image_shape=(int(height), int(width)),
        diameter_px=count.diameter_px,
        model=count.model,
        model_sha256=count.model_sha256,
        classes=count.classes,
        calibration=None if content is None else calibration_of_json(zlib.decompress(content)),
        calibration_sha256=count.calibration_sha256,
        statistics=facts["statistics"],
        appearance=facts["appearance"],
        image=row.name,
        seconds=count.seconds,
        notes=tuple(facts["notes"]),
    )
    return prediction, unpack_dots(row.candidates, source=count.model_sha256)


def _stored(row: Any) -> StoredCount:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    return StoredCount(
        id=row["id"],
        image_id=row["image_id"],
        t=row["t"],
        z=row["z"],
        z_method=row["z_method"],
        channel=row["channel"],
        model=row["model"],
        model_sha256=row["model_sha256"],
        calibration_sha256=row["calibration_sha256"],
        classes=tuple(json.loads(row["classes"])),
        count=row["count"],
        interval=Interval(
            number(row["ci_low"]),
            number(row["ci_high"]),
            row["level"],
            row["interval_kind"],
            row["interval_reason"],
        ),
        diameter_px=row["diameter_px"],
        threshold=row["threshold"],
        default_threshold=row["default_threshold"],
        in_distribution=None if row["in_distribution"] is None else bool(row["in_distribution"]),
        seconds=number(row["seconds"]),
        made=row["made"],
        merged=tuple(json.loads(row["facts"]).get("merged", ())),
    )


def _known(value: float) -> float | None:
    """Return a figure as SQLite keeps it, which has no NaN."""
    return None if math.isnan(value) else value


def _bounded(value: float) -> float:
    """Return a threshold as SQLite can keep it: infinite ones become very large."""
    return float(min(max(value, -1e30), 1e30))

"""The tables of a project file, its version, and how older files are brought up to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "VERSION",
    "calibrations",
    "changes",
    "create",
    "dots",
    "figures",
    "images",
    "maps",
    "metadata",
    "models",
    "predictions",
    "regions",
    "settings",
    "sources",
    "steps",
]

#: "CTLY": what SQLite keeps in a file's header to say whose it is.
APPLICATION_ID = 0x43544C59
#: Of the tables below. A change of them comes with a migration and a higher number.
VERSION = 1
#: What brings a file of a version to the next one, by the version that it starts from.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}

metadata = MetaData()

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
)

images = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),  # of the file, or of the layer
    Column("path", Text),  # absolute; NULL for pixels that came from no file
    Column("scene", Text),
    Column("size_bytes", Integer),
    Column("changed_ns", Integer),  # time of the file's last change
    Column("file_sha256", Text),
    Column("pixel_sha256", Text),
    Column("height", Integer),
    Column("width", Integer),
    Column("pixel_size_y_um", Float),
    Column("pixel_size_x_um", Float),
    Column("plate", Text),
    Column("well", Text),
    Column("site", Text),
    Column("condition", Text),
    Column("replicate", Text),
    Column("further", Text, nullable=False, server_default="{}"),  # JSON: other columns
    Column("added", Text, nullable=False),
    Index("images_path", "path"),
    Index("images_file", "file_sha256"),
    Index("images_pixels", "pixel_sha256"),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("calibration_sha256", Text, nullable=False),
    Index("models_identity", "sha256", "calibration_sha256", "name", unique=True),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),  # the model's calibration.json, zlib
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_id", ForeignKey("images.id"), nullable=False),
    Column("t", Integer, nullable=False),
    Column("z", Integer, nullable=False),
    Column("z_method", Text, nullable=False),  # plane, projection or merged
    Column("channel", Text, nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("classes", Text, nullable=False),  # JSON
    Column("count", Float, nullable=False),
    Column("ci_low", Float),
    Column("ci_high", Float),
    Column("level", Float, nullable=False),
    Column("interval_kind", Text, nullable=False),
    Column("interval_reason", Text, nullable=False),
    Column("diameter_px", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("default_threshold", Float, nullable=False),
    Column("in_distribution", Integer),
    Column("seconds", Float),
    Column("facts", Text, nullable=False),  # JSON: grid, statistics, appearance, notes
    Column("made", Text, nullable=False),
    Index("predictions_image", "image_id", "t", "z", "id"),
)

#: Maps of the newest prediction of a plane: apart, so that tables of counts stay small.
maps = Table(
    "maps",
    metadata,
    Column("prediction_id", ForeignKey("predictions.id"), primary_key=True),
    Column("density", LargeBinary, nullable=False),
    Column("variance", LargeBinary, nullable=False),
    Column("candidates", LargeBinary, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

#: Rows of an image lie together, so that it is read in one go.
dots = Table(
    "dots",
    metadata,
    Column("image_id", ForeignKey("images.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("t", Integer, nullable=False),
    Column("z", Integer, nullable=False),
    Column("y", Float, nullable=False),
    Column("x", Float, nullable=False),
    Column("class", Text, nullable=False),
    Column("score", Float),
    Column("state", Text, nullable=False),
    Column("source_id", ForeignKey("sources.id"), nullable=False),
    Index("dots_summary", "image_id", "t", "z", "state", "class"),
    sqlite_with_rowid=False,
)

regions = Table(
    "regions",
    metadata,
    Column("image_id", ForeignKey("images.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("t", Integer, nullable=False),
    Column("z", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("stated", Float),
    Column("polygon", Text, nullable=False),  # JSON, (y, x) in image pixels
    Column("place", Integer, nullable=False),  # their order
    sqlite_with_rowid=False,
)

#: What was done, one row a step; nothing is ever changed or taken away (see ``create``).
steps = Table(
    "steps",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("made", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("image_id", ForeignKey("images.id")),  # NULL: of the whole project
    Column("kind", Text, nullable=False),  # edit, undo, redo or system
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),  # id of the step that is undone or redone
    Column("detail", Text, nullable=False),  # JSON: what no change tells
    Index("steps_image", "image_id", "seq"),
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("step_seq", ForeignKey("steps.seq"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("item", Text, nullable=False),  # dot or region
    Column("item_id", Text, nullable=False),
    Column("before", Text),  # JSON; NULL: it was not there
    Column("after", Text),
    sqlite_with_rowid=False,
)

#: Corrected counts, remembered until an edit of their image makes them old.
figures = Table(
    "figures",
    metadata,
    Column("image_id", ForeignKey("images.id"), primary_key=True),
    Column("t", Integer, primary_key=True),
    Column("z", Integer, primary_key=True),
    Column("step_seq", Integer, nullable=False),  # the last step that they know of
    Column("prediction_id", Integer),
    Column("content", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)


def create(connection: Connection) -> None:
    """Make the tables, and guard the log."""
    metadata.create_all(connection)
    for table in ("steps", "changes"):
        for deed in ("UPDATE", "DELETE"):
            connection.execute(
                text(
                    f"CREATE TRIGGER {table}_no_{deed.lower()} BEFORE {deed} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'the log of edits only grows'); END"
                )
            )
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")

"""Many images, one table: a batch that goes on when an image fails, and can be resumed."""

from __future__ import annotations

from celltally.batch.row import count_row
from celltally.batch.run import Counted, iter_count
from celltally.batch.table import COLUMNS, Row, read_counts, typed

__all__ = ["COLUMNS", "Counted", "Row", "count_row", "iter_count", "read_counts", "typed"]

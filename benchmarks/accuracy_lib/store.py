"""Finished rows in files, one each, so that whatever ends a run loses none of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from accuracy_lib.systems import Measured
from celltally.errors import UserError

__all__ = ["Row", "Store"]

#: Figures by name; None where one does not exist.
Row = dict[str, Any]


class Store:
    """The folder ``rows`` of an output folder: ``<slug>.json`` and ``<slug>.csv`` a row."""

    def __init__(self, out: Path) -> None:
        self.folder = out / "rows"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"folder {self.folder} cannot be made ({str(error.strerror).lower()}); "
                "choose another --out"
            ) from None

    def has(self, slug: str) -> bool:
        """Whether a row is finished."""
        return (self.folder / f"{slug}.json").is_file()

    def put(self, slug: str, measured: Measured) -> None:
        """Keep a finished row; its ``.json`` comes last and at once."""
        measured.per_image.to_csv(self.folder / f"{slug}.csv", index=False)
        row = {name: _plain(value) for name, value in measured.figures.items()}
        unfinished = self.folder / f"{slug}.unfinished"
        unfinished.write_text(json.dumps({"slug": slug, **row}, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self.folder / f"{slug}.json")

    def rows(self) -> list[Row]:
        """Return all rows; of one that was measured again (other weights, data) the newest.

        Raises
        ------
        UserError
            When a file is damaged.
        """
        rows: dict[tuple[Any, ...], Row] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                row: Row = json.loads(path.read_text(encoding="utf-8"))
                place = (row["set"], row["split"], row["system"], row["seed"])
                if place not in rows or rows[place]["created"] < row["created"]:
                    rows[place] = row
            except (OSError, ValueError, KeyError, TypeError):
                raise UserError(f"{path} is damaged; remove it to measure it again") from None
        return list(rows.values())

    def per_image(self, row: Row) -> pd.DataFrame:
        """Return the images of a row, as in ``Report``."""
        return pd.read_csv(self.folder / f"{row['slug']}.csv")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

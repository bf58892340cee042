"""Dialogs of the *Study* widget that ask for a place on the disk."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

__all__ = ["ask_folder", "ask_images", "ask_new_folder", "ask_table"]

#: Kinds of tables by their suffix.
_TABLES = {".csv": "Tables (*.csv)", ".xlsx": "Excel files (*.xlsx)"}


def ask_images(parent: QWidget, beside: Path) -> list[Path]:
    """Ask for image files; none where it was cancelled."""
    from celltally.io import IMAGE_SUFFIXES

    kinds = " ".join(f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
    filters = f"Images ({kinds});;All files (*)"
    paths, _ = QFileDialog.getOpenFileNames(parent, "Add images", str(beside), filters)
    return [Path(path) for path in paths]


def ask_folder(parent: QWidget, title: str, beside: Path) -> Path | None:
    """Ask for a folder that is there."""
    path = QFileDialog.getExistingDirectory(parent, title, str(beside))
    return Path(path) if path else None


def ask_new_folder(parent: QWidget, title: str, suggested: Path) -> Path | None:
    """Ask for the name of a folder that is to be made."""
    path, _ = QFileDialog.getSaveFileName(parent, title, str(suggested))
    return Path(path) if path else None


def ask_table(parent: QWidget, suggested: Path) -> Path | None:
    """Ask where a table is to be written; its suffix is that of the suggestion without one."""
    words = _TABLES[suggested.suffix]
    path, _ = QFileDialog.getSaveFileName(parent, "Export", str(suggested), words)
    if not path:
        return None
    return Path(path) if Path(path).suffix else Path(path).with_suffix(suggested.suffix)

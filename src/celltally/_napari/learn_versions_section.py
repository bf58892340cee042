"""*Versions*: the family of the model in use, and the way back to any of them."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
)

from celltally._napari.controls import Section, hint, wrapped
from celltally._napari.learn_versions import (
    family,
    version_details,
    version_error,
    version_lines,
)
from celltally.lineage import Version
from celltally.record import ModelRecord

__all__ = ["VersionsSection"]

#: Words on what cannot be chosen: read on napari's dark and light theme alike.
GONE = QBrush(QColor("#8a8f98"))
_RECORD = int(Qt.ItemDataRole.UserRole)
#: Pixels that the tree is high at least and at most.
LEAST, MOST = 76, 260
ALONE = "No version was made from this model yet."


class VersionsSection(Section):
    """Shows a tree of versions; ``chosen`` tells which is to be used."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__("Versions")
        self.words = wrapped(name="learn_versions_words")
        self.tree = QTreeWidget()
        self.tree.setObjectName("learn_versions")
        self.tree.setAccessibleName("Versions of the model in use")
        self.tree.setColumnCount(2)
        self.tree.setHeaderLabels(["Version, learned from", "Error"])
        self.tree.setIndentation(12)
        self.tree.setItemsExpandable(False)
        # Versions of a family differ at the end of their names.
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.tree.headerItem().setToolTip(
            1, "Mean error of a region's count, before → after, on regions that taught nothing."
        )
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(1, self.tree.fontMetrics().horizontalAdvance("00.0 → 00.0") + 14)
        self.use_button = QPushButton("Use this version")
        self.use_button.setToolTip("Choose the version in Tally; counts that were made stay.")
        self.use_button.clicked.connect(self._use)
        self.tree.itemSelectionChanged.connect(self._selected)
        self.tree.itemDoubleClicked.connect(lambda *_: self._use())
        for part in (self.words, self.tree, self.use_button):
            self.column.addWidget(part)
        self._shown: tuple[Version | None, ModelRecord | None] = (None, None)
        self._in_use: ModelRecord | None = None
        self.show_versions((), None)

    def show_versions(self, trees: Iterable[Version], in_use: ModelRecord | None) -> None:
        """Show the family of the model in use.

        Parameters
        ----------
        trees
            Of the models at hand.
        in_use
            Of the one in use; None where that is not known.
        """
        root = family(trees, in_use)
        self._in_use = in_use
        self.setVisible(root is not None)
        there = root is not None and bool(root.children)
        hint(self.words, "" if there or root is None else ALONE)
        self.tree.setVisible(there)
        self.use_button.setVisible(there)
        now = (root, in_use)
        if now == self._shown:
            return
        self._shown = now
        self.tree.clear()
        if root is not None and there:
            self._add(root, self.tree.invisibleRootItem())
            self.tree.expandAll()
            self._fit()
        self._selected()

    def _add(self, version: Version, above: QTreeWidgetItem) -> None:
        in_use = version.record is not None and version.record == self._in_use
        item = QTreeWidgetItem(
            ["\n".join(version_lines(version, in_use=in_use)), version_error(version)]
        )
        item.setData(0, _RECORD, version.record)
        for column in (0, 1):
            item.setToolTip(column, version_details(version))
        if not version.there:  # disabled it would disable its children, too
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
            item.setForeground(0, GONE)
        above.addChild(item)
        for child in version.children:
            self._add(child, item)

    def _fit(self) -> None:
        """Be as high as the tree needs, where that is not too much."""
        high, item = self.tree.header().sizeHint().height() + 6, self.tree.topLevelItem(0)
        row = self.tree.fontMetrics().height()
        while item is not None:
            high += row * len(item.text(0).splitlines()) + 6
            item = self.tree.itemBelow(item)
        self.tree.setFixedHeight(min(max(high, LEAST), MOST))

    @property
    def selected(self) -> ModelRecord | None:
        """Record of the version that is selected."""
        items = self.tree.selectedItems()
        record: ModelRecord | None = items[0].data(0, _RECORD) if items else None
        return record

    def _selected(self) -> None:
        record = self.selected
        other = self._in_use is None or (record is not None and record != self._in_use)
        self.use_button.setEnabled(record is not None and other)

    def _use(self) -> None:
        if self.use_button.isEnabled() and self.selected is not None:
            self.chosen.emit(self.selected)

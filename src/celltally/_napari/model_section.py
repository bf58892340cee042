"""*Model*: which one, what it is for, and what to know before counting."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from textwrap import fill

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from celltally._napari import checks
from celltally._napari.controls import ATTENTION, Section, hint, spread, text, wrapped
from celltally._napari.counting import Looked, list_models_job
from celltally._napari.grouped_box import GroupedBox
from celltally._napari.jobs import Job, Jobs, sentence
from celltally.errors import UserError
from celltally.intervals import likeness_score, which_counts
from celltally.published import PUBLISHED
from celltally.record import (
    ModelRecord,
    PatchRecord,
    known_of,
    read_base,
    read_calibration,
    read_prototypes,
)
from celltally.types import Calibration, Progress

__all__ = ["ModelSection"]

#: Pictures of prototypes that a dock of usual width has room for, and their side.
MOST_PICTURES, PICTURE_PX = 5, 40
#: Letters in a line of a tool tip.
TIP_WIDTH = 72
#: Stands above the models whose networks others have published.
HEADING = "Published architectures"


class ModelSection(Section):
    """Chooses a model and shows its card."""

    changed = Signal()

    def __init__(self, jobs: Jobs) -> None:
        super().__init__("Model")
        self._jobs = jobs
        self._lineup: list[tuple[ModelRecord, Calibration | None]] = []
        self.loading = self._brief = False
        self._trouble = ""
        self._wanted: str | None = None
        self._listing: Job | None = None
        self.model_box = GroupedBox()
        self.model_box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.model_box.setMinimumContentsLength(12)
        self.model_box.currentIndexChanged.connect(self._chosen)
        self.card = wrapped(name="model_card")
        self.warning = wrapped(name="model_warning", style=ATTENTION)
        self.add_row("Name", self.model_box)
        self.column.addWidget(self.card)
        self.looks_for = text("Looks for")
        self.column.addWidget(self.looks_for)
        self.pictures: list[QLabel] = []
        self._gallery: QWidget | None = None
        self.column.addWidget(self.warning)
        self.reload()

    @property
    def record(self) -> ModelRecord | None:
        """The chosen model's record, None where there is no model."""
        record: ModelRecord | None = self.model_box.currentData()
        return record

    def records(self) -> list[ModelRecord]:
        """Return the records of the models at hand."""
        rows = range(self.model_box.count())
        return [r for row in rows if isinstance(r := self.model_box.itemData(row), ModelRecord)]

    def problem(self) -> str | None:
        """Say what keeps this from being counted with, or None."""
        if self.record is not None:
            return None
        if self.loading:
            return "Please wait: the models are being looked for."
        return "There is no model: train one with “celltally train”, or install celltally again."

    def warn(self, diameter_px: float | None, looked: Looked | None = None) -> None:
        """Show what to know before counting cells of this diameter in the image looked at."""
        record, calibration = self.record, self._counting(looked)
        warnings = checks.model_warnings(record, diameter_px, calibration, looked) if record else ()
        hint(self.warning, "\n".join(warnings))

    def _counting(self, looked: Looked | None) -> Calibration | None:
        """Calibration of the model that would count: a base, where the image is like its own."""
        if not self._lineup:
            return None
        known = [known_of(record, calibration) for record, calibration in self._lineup]
        return self._lineup[which_counts(known, looked.appearance if looked else {})][1]

    def show_briefly(self, brief: bool) -> None:
        """Leave room for what comes below: of the card the first sentence, and no pictures.

        A model that is chosen anew is shown whole again.
        """
        if brief != self._brief:
            self._brief = brief
            self._show_card()

    def reload(self) -> None:
        """List the models at hand, beside the window; the chosen one stays chosen."""
        self._reload(self.record.name if self.record is not None else self._wanted)

    def choose(self, name: str) -> None:
        """List the models at hand, and choose one of them by name."""
        self._reload(name)

    def _reload(self, wanted: str | None) -> None:
        self._wanted = wanted
        self.loading = True
        self.model_box.setEnabled(False)
        with QSignalBlocker(self.model_box):
            self.model_box.clear()
            self.model_box.addItem("looking for models…")
        if self._listing is not None:
            self._listing.abandon()  # it may not know the one that is wanted, and end last
        self._listing = self._jobs.start(
            lambda: _listed_job(wanted), on_done=self._found, on_failed=self._failed
        )

    def _failed(self, error: Exception) -> None:
        self._found(([], None))
        hint(self.card, sentence(error))

    def _found(self, found: tuple[list[ModelRecord], Inside | None]) -> None:
        records, inside = found
        self.loading = False
        with QSignalBlocker(self.model_box):
            self._fill(records)
        self.model_box.setEnabled(bool(records))
        self._show(inside)

    def _fill(self, records: list[ModelRecord]) -> None:
        """List the models, those of published architectures apart; the first is chosen at first."""
        box = self.model_box
        box.clear()
        for record in records:
            if record.network not in PUBLISHED:
                box.addItem(record.name, record)
        if published := [record for record in records if record.network in PUBLISHED]:
            box.add_heading(HEADING)
            for record in published:
                box.addItem(record.name, record)
        if not records:
            box.addItem("no model found")
            return
        chosen = _wanted(records, self._wanted)
        rows = range(box.count())
        box.setCurrentIndex(next(row for row in rows if box.itemData(row) == chosen))

    def _chosen(self, index: int = 0) -> None:
        self._show(None)

    def _show(self, inside: Inside | None) -> None:
        """Show the chosen model; what its folder holds is read here where it was not yet."""
        record = self.record
        if inside is None or inside.record != record:
            inside = inside_of(record)
        self._brief, self._trouble, self._lineup = False, inside.trouble, inside.lineup
        patches = inside.patches
        self._show_pictures(record, patches)
        self._show_card()
        self.model_box.setToolTip("" if record is None else card_details(record))
        self.card.setToolTip("" if record is None else card_details(record))
        self.changed.emit()

    def _show_card(self) -> None:
        """Show what the model is for, as far as there is to be room for it."""
        record = self.record
        words = "" if record is None else card_text(record)
        if self._brief:
            words = words.partition(". ")[0].rstrip(".") + "."
        hint(self.card, self._trouble or words)
        for part in (self.looks_for, self._gallery):
            if part is not None:
                part.setVisible(bool(self.pictures) and not self._brief)

    def _show_pictures(
        self, record: ModelRecord | None, patches: list[tuple[str, PatchRecord]]
    ) -> None:
        if self._gallery is not None:
            self._gallery.hide()
            self._gallery.deleteLater()
            self._gallery = None
        self.pictures = []
        self.looks_for.setVisible(bool(patches))
        if record is None or record.path is None or not patches:
            return
        for kind, patch in patches:
            picture = QLabel()
            picture.setPixmap(
                QPixmap(str(record.path / "prototypes" / str(patch.png))).scaled(
                    PICTURE_PX,
                    PICTURE_PX,
                    Qt.AspectRatioMode.KeepAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
            )
            picture.setToolTip(f"{kind.capitalize()}, from the data set {patch.dataset}")
            self.pictures.append(picture)
        self._gallery = spread(*self.pictures, QWidget(), stretch=len(self.pictures))
        self.column.insertWidget(self.column.indexOf(self.looks_for) + 1, self._gallery)


@dataclass(frozen=True, eq=False)
class Inside:
    """What a model's folder holds beside its record.

    Attributes
    ----------
    record
        The model's; None where there is none.
    lineup, patches
        See ``lineup`` and ``pictured``.
    trouble
        Why it cannot be read, in a sentence.
    """

    record: ModelRecord | None
    lineup: list[tuple[ModelRecord, Calibration | None]]
    patches: list[tuple[str, PatchRecord]]
    trouble: str = ""


def inside_of(record: ModelRecord | None) -> Inside:
    """Read what a model's folder holds."""
    parts: list[tuple[ModelRecord, Calibration | None]] = []
    patches: list[tuple[str, PatchRecord]] = []
    trouble = ""
    if record is not None and record.path is not None:
        try:
            parts = lineup(record)
            patches = pictured(record)
        except UserError as error:
            trouble = sentence(error)
    return Inside(record, parts, patches, trouble)


def _wanted(records: list[ModelRecord], name: str | None) -> ModelRecord:
    """Return the model of a name, else the first."""
    return next((record for record in records if record.name == name), records[0])


def _listed_job(
    name: str | None,
) -> Generator[Progress, None, tuple[list[ModelRecord], Inside | None]]:
    """List the models at hand, and read what is shown of the one that will be chosen."""
    records = yield from list_models_job()
    if not records:
        return records, None
    inside = inside_of(_wanted(records, name))
    for _, calibration in inside.lineup:
        if calibration is not None and (known := calibration.appearances) is not None:
            # Remembered there: the first image that is compared waits for it.
            likeness_score(known, dict.fromkeys(known.names, 0.0))
    return records, inside


def lineup(record: ModelRecord) -> list[tuple[ModelRecord, Calibration | None]]:
    """Return records of a model, its base, that one's base and so on, with calibrations."""
    found: list[tuple[ModelRecord, Calibration | None]] = []
    model: ModelRecord | None = record
    while model is not None and model.path is not None:
        found.append((model, read_calibration(model.path)[0]))
        model = read_base(model)
    return found


def pictured(record: ModelRecord) -> list[tuple[str, PatchRecord]]:
    """Kinds of a model's prototypes and patches that have a picture, the best of each first."""
    if record.path is None:
        return []
    found = [
        (rank, prototype.kind, patch)
        for prototype in read_prototypes(record.path)
        for rank, patch in enumerate(prototype.patches)
        if f"prototypes/{patch.png}" in record.files  # no other file was verified
    ]
    found.sort(key=lambda entry: entry[0])
    return [(kind, patch) for _, kind, patch in found[:MOST_PICTURES]]


def card_text(record: ModelRecord) -> str:
    """Say what a model is for, in a few lines."""
    sample = record.sample.strip().rstrip(".")
    if sample.partition(" ")[0][1:].islower():  # HeLa, U2OS and H&E stay as they are
        sample = sample[:1].lower() + sample[1:]
    lines = [f"For {sample}." if sample else ""]
    images = sum(s.images for s in record.training_data)
    if record.training_data:
        sets = len(record.training_data)
        lines.append(
            f"Learned from {images} images of {sets} data {'set' if sets == 1 else 'sets'}. "
            f"{'Calibrated. ' if record.is_calibrated else ''}"
            f"Images are resized so that cells are {record.diameter_px:g} px wide."
        )
    if any(
        word in s.licence.lower() for s in record.training_data for word in ("research", "non-com")
    ):
        lines.append("For research use, as some of its training data ask.")
    return "\n".join(filter(None, [published_line(record), " ".join(filter(None, lines))]))


def published_line(record: ModelRecord) -> str:
    """Name the architecture and its paper, where a model has a published one."""
    architecture = PUBLISHED.get(record.network)
    if architecture is None:
        return ""
    smaller = ", made smaller" if record.parameters < architecture.parameters / 2 else ""
    return f"{architecture.name}{smaller}, for comparison."


def card_details(record: ModelRecord) -> str:
    """Everything a card says, for a tool tip."""
    sets = "\n".join(f"  {s.name}: {s.images} images, {s.licence}" for s in record.training_data)
    architecture = PUBLISHED.get(record.network)
    published = ""
    if architecture is not None:
        changes = ", ".join(architecture.changes(record.config)) or "none"
        published = "".join(
            f"{fill(words, TIP_WIDTH)}\n"
            for words in (
                architecture.use,
                f"Paper: {architecture.paper}",
                f"Settings changed from the paper's: {changes}",
            )
        )
    return (
        f"{record.name} ({record.network}, {record.parameters:,} weights)\n"
        f"{published}"
        f"Training data and licences:\n{sets or '  not stated'}\n"
        f"Nominal cell diameter: {record.diameter_px:g} px\n"
        f"Identity: {record.sha256[:12]}"
    )

"""*Prototypes*: what the model compares every place with, to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from celltally._napari import texts
from celltally._napari.colours import KINDS
from celltally._napari.controls import Section, hint, text, wrapped
from celltally._napari.explainer import Explainer
from celltally._napari.prototype_list import PrototypeList, framed
from celltally._napari.run_section import RunSection

if TYPE_CHECKING:
    from celltally.explain.gallery import Patch

__all__ = ["GallerySection"]

#: Side of the pictures of the chosen prototype, in pixels.
SIDE = 88
TIP = (
    "Compare every place of the image with the prototypes: for the boxes, and for the places "
    "of the image that are most like each prototype."
)
KEYS = "Arrow keys choose another; with Ctrl or Shift several."
NEW = ", new: the model learned it from corrected images"
TITLES = {
    "cell": "Cell prototypes (red)",
    "background": "Background prototypes (blue)",
}


class GallerySection(Section):
    """Shows the prototypes of the model that made the count.

    ``chosen`` is emitted when others are chosen.

    Parameters
    ----------
    explainer
        Knows what is to be shown.
    """

    chosen = Signal()

    def __init__(self, explainer: Explainer) -> None:
        super().__init__("Prototypes")
        self._explainer = explainer
        self.words = wrapped(name="prototype_words")
        self.run = RunSection("Explain this count", TIP, "Explaining")
        self.run.started.connect(explainer.explain)
        self.run.cancelled.connect(self._cancel)
        self.column.addWidget(self.words)
        self.column.addWidget(self.run)
        self.lists: dict[str, PrototypeList] = {}
        self._titles: list[QLabel] = []
        for kind, title in TITLES.items():
            label = text(title, style=f"color: {KINDS[kind]};")
            label.setToolTip(KEYS)
            shown = PrototypeList(kind)
            shown.setToolTip(KEYS)
            shown.chosen.connect(lambda beside, kind=kind: self._chosen(kind, beside))
            label.setBuddy(shown)
            self.column.addWidget(label)
            self.column.addWidget(shown)
            self._titles.append(label)
            self.lists[kind] = shown
        self.detail = wrapped(name="prototype_detail")
        self.column.addWidget(self.detail)
        self._strip = QWidget()
        grid = QGridLayout(self._strip)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(3, 1)
        self.pictures = [QLabel() for _ in range(3)]
        self.captions = [QLabel() for _ in range(3)]
        for column, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            grid.addWidget(picture, 0, column)
            grid.addWidget(caption, 1, column)
        self.column.addWidget(self._strip)
        explainer.started.connect(self.run.show_running)
        explainer.progressed.connect(self.run.show_progress)
        explainer.ended.connect(lambda words: self.run.show_ready(None, words))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the chosen prototypes."""
        return tuple(n for shown in self.lists.values() for n in shown.numbers)

    def choose(self, number: int) -> None:
        """Choose one prototype."""
        for shown in self.lists.values():
            if shown.choose(number):
                return

    def _cancel(self) -> None:
        self.run.show_cancelling()
        self._explainer.cancel()

    def _chosen(self, kind: str, beside: bool) -> None:
        """Let go of what is chosen in the other list, unless both are meant."""
        if not beside and self.lists[kind].numbers:
            for other, shown in self.lists.items():
                if other != kind:
                    with QSignalBlocker(shown):
                        shown.clearSelection()
        self._show_detail()
        self.chosen.emit()

    def refresh(self) -> None:
        """Show what is known by now."""
        known = self._explainer.known
        prototypes = known.prototypes
        there = prototypes is not None and bool(prototypes.kinds)
        for part in (self.run, *self._titles, *self.lists.values()):
            part.setVisible(there or (part is self.run and self._explainer.running))
        hint(self.words, self._words())
        if not there or prototypes is None:
            for shown in self.lists.values():
                with QSignalBlocker(shown):
                    shown.clear()
            self._show_detail()
            return
        for kind, shown in self.lists.items():
            numbers = [k for k, one in enumerate(prototypes.kinds) if one == kind]
            patches = [self._patches(k) for k in numbers]
            with QSignalBlocker(shown):
                shown.fill(
                    numbers,
                    [own[0].picture if own else None for own in patches],
                    [self._tip(k) for k in numbers],
                    prototypes.new,
                )
        if not self._explainer.running:
            self.run.button.setVisible(known.overview is None)
        self._show_detail()

    def _patches(self, number: int) -> tuple[Patch, ...]:
        """Return its training patches, or those of the image where these may not be shown."""
        known = self._explainer.known
        if known.prototypes is None:
            return ()
        own = known.prototypes.patches[number]
        return own or (known.overview.patches[number] if known.overview is not None else ())

    def _words(self) -> str:
        """Say what prototypes are, or why there are none."""
        known, subject = self._explainer.known, self._explainer.subject
        if subject is None:
            return ""
        name = subject.counted.prediction.model
        if known.problem:
            return known.problem
        if known.prototypes is None:
            return "Looking for the model's prototypes…"
        kinds = known.prototypes.kinds
        if not kinds:
            return (
                f"The model “{name}” counts without prototypes, so it has no boxes and no "
                "contributions to show; the saliency below is there for every model."
            )
        words = (
            f"The model compares every place of the image with {len(kinds)} prototypes, places "
            "of training images. The count is made of these similarities and nothing else."
        )
        hidden = any(not own for own in known.prototypes.patches)
        if hidden and known.overview is None:
            return (
                f"{words} Most pictures of this model's training images may not be shown: "
                "after “Explain this count” the places of your image that are most like each "
                "prototype stand here."
            )
        return words

    def _tip(self, number: int) -> str:
        prototypes = self._explainer.known.prototypes
        kind = prototypes.kinds[number] if prototypes is not None else ""
        new = prototypes is not None and number in prototypes.new
        return f"{kind.capitalize()} prototype p{number}{NEW if new else ''}. {KEYS}"

    def _show_detail(self) -> None:
        """Show the pictures of the one that is chosen, and what it adds to the count."""
        numbers, known = self.numbers, self._explainer.known
        one = numbers[0] if len(numbers) == 1 and known.prototypes is not None else None
        patches = self._patches(one) if one is not None else ()
        self._strip.setVisible(bool(patches))
        if one is None or known.prototypes is None:
            hint(self.detail, f"{len(numbers)} prototypes are chosen." if numbers else "")
            return
        kind = known.prototypes.kinds[one]
        words = f"{kind.capitalize()} prototype p{one}"
        words += f"{NEW}," if one in known.prototypes.new else ""
        if known.overview is not None:
            parts = known.overview.contributions
            verb = "adds" if parts.values[one] >= 0 else "takes off"
            amount = texts.amount(abs(parts.values[one]))
            total = texts.amount(max(parts.total, 0.0))
            words += f" {verb} {amount} cells; all prototypes and the bias make {total}"
        if not patches:
            words += "; it has no pictures yet"
        elif patches[0].source:
            sets = ", ".join(dict.fromkeys(patch.source for patch in patches))
            words += (
                f". These are the patches of training images ({sets}) that are most like it, "
                "and their similarity"
            )
        else:
            words += (
                ". Its training images may not be shown: these places of your image are most "
                "like it, and their similarity"
            )
        hint(self.detail, f"{words}.")
        for i, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            there = i < len(patches)
            picture.setVisible(there)
            caption.setVisible(there)
            if there:
                patch = patches[i]
                picture.setPixmap(framed(patch.picture, kind, SIDE))
                caption.setText(f"{patch.similarity:.1f}")
                picture.setToolTip(
                    f"Similarity {patch.similarity:.2f}, in "
                    f"{'the data set ' + patch.source if patch.source else 'your image'}. "
                    "The ring is a cell diameter wide, around the place itself."
                )

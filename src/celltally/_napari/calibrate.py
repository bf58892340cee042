"""The *Calibrate* widget: random regions that the user counts → intervals that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer

from celltally._napari import auditing
from celltally._napari.audit_result_section import AuditResultSection
from celltally._napari.audit_section import AuditSection
from celltally._napari.audit_setup_section import AuditSetupSection
from celltally._napari.auditing import AuditRun
from celltally._napari.checks import diameter_problem
from celltally._napari.controls import Section, hint, line, wrapped
from celltally._napari.count_section import PRIMARY
from celltally._napari.docked import Docked
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers import AuditLayers
from celltally._napari.model_section import ModelSection
from celltally._napari.run_section import RunSection
from celltally.errors import UserError
from celltally.intervals import AuditSummary, still_needed
from celltally.learn.audit_store import AuditSession
from celltally.record import CALIBRATION

if TYPE_CHECKING:
    import napari

    from celltally.learn.audits import AuditField

__all__ = ["CalibrateWidget"]

WORDS = (
    "How far the model's counts of your images can be trusted shows where you count them, too. "
    "You are shown random regions of about 10 to 40 cells, without the model's count; 19 of them "
    "or more, from different images, make its intervals fit your microscope."
)
#: Offered as the copy's name, after the model's.
SUFFIX = "my microscope"


class CalibrateWidget(Docked):
    """Lets the user audit a model, and saves a calibrated copy.

    Parameters
    ----------
    napari_viewer
        The viewer that shows the regions.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self.layers = AuditLayers(napari_viewer)
        self.audit: AuditRun | None = None
        self._auditing = False
        self._fields: list[AuditField] = []  # all that were shown since the start
        self._at = 0
        self._waiting: AuditField | None = None  # drawn beforehand
        self._job: Job | None = None  # start, or the region that is drawn
        self._saving: Job | None = None
        self._no_more = False
        self.intro = Section("Calibrate for my microscope")
        self.intro.column.addWidget(wrapped(WORDS, "calibrate_words"))
        self.model = ModelSection(self.jobs)
        self.setup = AuditSetupSection(napari_viewer)
        self.run = RunSection(
            "Start counting regions",
            "Draw random regions and show them one by one. Audits of the same images and "
            "model are gone on with.",
            "Working",
        )
        self.run.button.setStyleSheet(PRIMARY)
        self.counting = AuditSection()
        self.result = AuditResultSection()
        self._lines = (line(), line())
        self.lay_out(
            self.result, self.intro, self._lines[0], self.model, self._lines[1], self.setup,
            self.counting, self.run,
        )  # fmt: skip
        self._follow = QTimer(self)  # a drag reports each pixel
        self._follow.setSingleShot(True)
        self._follow.setInterval(30)
        self._follow.timeout.connect(self._count_dots)
        self.model.changed.connect(self._refresh)
        self.setup.changed.connect(self._refresh)
        self.run.started.connect(self.start)
        self.run.cancelled.connect(self.cancel)
        self.counting.answered.connect(self.next)
        self.counting.skipped.connect(self.skip)
        self.counting.went_back.connect(self.back)
        self.counting.undone.connect(self.undo)
        self.counting.finished.connect(self.finish)
        self.result.saved.connect(self.save)
        self._hook_viewer()
        self._show_parts()
        self._refresh()

    def _hook_viewer(self) -> None:
        """End with the widget what it began in the viewer."""
        jobs, setup = self.jobs, self.setup

        def unhook(*_: object) -> None:
            jobs.stop()
            setup.disconnect_viewer()

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """End what runs; what was counted is saved already."""
        self._follow.stop()
        self._show_viewer_again()
        self._unhook()

    # ---- start ----

    @property
    def running(self) -> bool:
        """Whether something is prepared that the user waits for."""
        return self._job is not None

    def problem(self) -> str | None:
        """Say what keeps from starting, or None."""
        problem = self.model.problem() or self.setup.problem()
        if problem is None and self.setup.diameter_px is not None:
            problem = diameter_problem(self.setup.diameter_px)
        return problem

    def _refresh(self, message: str = "") -> None:
        if self.running or self._auditing:
            return
        problem = self.problem()
        said = message or ("" if self.model.loading else problem or "")
        self.run.show_ready(problem, said)

    def start(self) -> None:
        """Begin, or go on with, an audit; nothing is begun on bad input."""
        record = self.model.record
        if self.running or self._auditing:
            return
        if self.problem() is not None or record is None:
            self._refresh()
            return
        setup = self.setup
        session = AuditSession(
            model=record.name,
            model_sha256=record.sha256,
            calibration_sha256=record.files.get(CALIBRATION, ""),
            source=setup.source,
            units=setup.units,
            diameter_px=setup.diameter_px,
            channel=setup.channel,
        )
        find = (
            auditing.folder_candidates(setup.folder, setup.units, setup.channel)
            if setup.of_folder
            else auditing.layer_candidates(setup.planes(), setup.units)
        )
        self.result.hide()
        self.run.show_running()
        self._job = self.jobs.start(
            lambda: auditing.begin_job(find, record, session),
            on_done=self._begun,
            on_failed=self._failed,
            on_cancelled=lambda: self._stopped("Cancelled: nothing was begun."),
            on_progress=self.run.show_progress,
        )

    def cancel(self) -> None:
        """End what is being prepared; what was counted stays."""
        if self._job is not None:
            self.run.show_cancelling()
            self._job.cancel()
        if self._saving is not None:
            self._saving.cancel()

    def _begun(self, run: AuditRun) -> None:
        self._job = None
        self.audit, self._fields, self._at = run, [], 0
        self._waiting, self._no_more, self._auditing = None, False, True
        self._advance()

    def _failed(self, error: Exception) -> None:
        text = sentence(error)
        self._stopped(text)
        show_error(text)

    def _stopped(self, message: str = "") -> None:
        """Be as before the start; the answers are on the disk."""
        self._job = None
        self._auditing = False
        self._show_viewer_again()
        self._show_parts()
        self._refresh(message)

    # ---- regions ----

    def _draw(self) -> None:
        """Draw the region after the newest one, beside the window."""
        run = self.audit
        if run is None or self._job is not None or self._waiting is not None or self._no_more:
            return
        taken = {field.key for field in self._fields}
        self._job = self.jobs.start(
            lambda: auditing.field_job(run, taken),
            on_done=self._drawn,
            on_failed=self._not_drawn,
            on_cancelled=lambda: self._stopped("Stopped; everything that you counted is saved."),
            on_progress=self.run.show_progress,
        )

    def _drawn(self, field: AuditField | None) -> None:
        self._job = None
        self._waiting, self._no_more = field, field is None
        if self._auditing and self._at >= len(self._fields):
            self._advance()

    def _not_drawn(self, error: Exception) -> None:
        """Say so; whoever counts a region keeps it, and the next *Next* tries again."""
        if self.field is None:
            self._failed(error)
            return
        self._job = None
        self.counting.say(sentence(error))

    def _advance(self) -> None:
        """Show the region whose turn it is; wait where it is not drawn yet."""
        if self._at >= len(self._fields) and self._waiting is not None:
            self._fields.append(self._waiting)
            self._waiting = None
        if self._at < len(self._fields):
            self._show_field(self._fields[self._at])
        elif self._no_more:
            self.finish("There is no further region to draw; everything is saved.")
            return
        else:
            self.layers.blank()
            self.run.show_running()
            self._show_parts()
        self._draw()

    def _show_field(self, field: AuditField) -> None:
        earlier = self._answer(field)
        dots = earlier.get("dots") or ()
        points = self.layers.show(field, dots)
        points.events.data.connect(self._dots_changed)
        counted = earlier.get("counted")
        self.counting.show_number(None if counted is None else int(counted), typed=not dots)
        self.counting.typed = counted is not None and len(dots) != counted
        self.counting.say(
            f"Left out: {earlier['reason']}." if earlier.get("entry") == "skipped" else ""
        )
        self.counting.back_button.setEnabled(self._at > 0)
        self._show_parts()
        self._show_progress()
        self.viewer.bind_key("Enter", self._enter, overwrite=True)

    def _answer(self, field: AuditField) -> dict[str, Any]:
        answers = self.audit.store.answers if self.audit is not None else []
        return next((e for e in answers if (e["image"], e["draw"]) == field.key), {})

    def _enter(self, viewer: Any = None) -> None:
        self.next()

    def _dots_changed(self, event: Any = None) -> None:
        self._follow.start()

    def _count_dots(self) -> None:
        """Follow the dots, unless a number was typed."""
        dots = self.layers.dots
        if dots is None or self.counting.typed:
            return
        inside = len(self.layers.positions())
        self.counting.show_dots(inside, len(dots.data) - inside)

    def undo(self) -> None:
        """Take the last dot away."""
        dots = self.layers.dots
        if dots is not None and len(dots.data):
            dots.selected_data = {len(dots.data) - 1}
            dots.remove_selected()

    # ---- answers ----

    @property
    def field(self) -> AuditField | None:
        """The region that is shown."""
        shown = self._auditing and self._at < len(self._fields)
        return self._fields[self._at] if shown else None

    def next(self) -> None:
        """Save the count of the region that is shown, and show the next one."""
        field, run = self.field, self.audit
        if field is None or run is None:
            return
        self._count_dots()  # a paste tells nobody
        number = self.counting.number
        if number is None:
            self.counting.say("Click the cells first, or type 0 if there is none.")
            return
        dots = self.layers.positions().tolist()
        audit = replace(field.audit, counted=float(number))
        self._keep(
            lambda: run.store.counted(audit, field.draw, dots, diameter_px=field.diameter_px)
        )

    def skip(self, reason: str) -> None:
        """Leave the region out, for a reason, and show the next one."""
        field, run = self.field, self.audit
        if field is not None and run is not None:
            self._keep(lambda: run.store.left_out(*field.key, reason))

    def _keep(self, write: Any) -> None:
        """Write an answer; only then go on."""
        try:
            write()
        except UserError as error:
            self.counting.say(sentence(error))
            show_error(sentence(error))
            return
        self._at += 1
        self._advance()

    def back(self) -> None:
        """Show the region before, with its answer."""
        if self._auditing and self._at > 0:
            self._at -= 1
            self._show_field(self._fields[self._at])

    def _progress(self) -> tuple[str, str]:
        """How many are still needed, and what is saved, in words."""
        assert self.audit is not None
        store = self.audit.store
        audits = store.audits
        words = still_needed(len({a.group for a in audits}), store.session.units)
        skipped = sum(e["entry"] == "skipped" for e in store.answers)
        more = [f"{skipped} left out"] if skipped else []
        if store.unusable:
            more.append(f"{len(store.unusable)} could not be used")
        if more:
            words += f" ({', '.join(more)})"
        n = len(audits)
        return f"{words}.", f"{n} count{'s' * (n != 1)} saved" if n else ""

    def _show_progress(self) -> None:
        self.counting.show_progress(*self._progress())

    # ---- end ----

    def finish(self, message: str = "") -> None:
        """End or interrupt the audit, and show what it says."""
        run = self.audit
        if run is None:
            return
        if self._job is not None:
            self._job.abandon()
        said = [message] if message else []
        if not run.store.audits:  # else the summary says how many are still needed
            said.append(self._progress()[0])
        unusable = run.store.unusable
        if unusable:
            said.append(f"Not used: {next(iter(unusable.values()))}.")
        self._stopped(" ".join(said))
        if not run.store.audits:
            return
        self._job = self.jobs.start(
            lambda: auditing.summary_job(run), on_done=self._summed, on_failed=self._failed
        )

    def _summed(self, summary: AuditSummary) -> None:
        self._job = None
        assert self.audit is not None
        name = f"{self.audit.model.name} {SUFFIX}"
        self.result.show_summary(summary, self.audit.store.session.units, name)
        self.intro.hide()  # what was asked for is known by now, and room is scarce
        self.result.show()

    def save(self, name: str) -> None:
        """Save the calibrated copy."""
        run = self.audit
        if run is None or self._saving is not None:
            return
        self.result.run.show_running()
        self._saving = self.jobs.start(
            lambda: auditing.copy_job(run, name),
            on_done=self._saved,
            on_failed=self._not_saved,
            on_cancelled=lambda: self._not_saved(None),
            on_progress=self.result.run.show_progress,
        )

    def _saved(self, place: Path) -> None:
        self._saving = None
        self.result.run.show_ready(None, f"Saved: choose the model “{place.name}” in Tally.")
        show_info(f"Saved the model {place.name}.")
        for section in self.window().findChildren(ModelSection):
            section.reload()

    def _not_saved(self, error: Exception | None) -> None:
        self._saving = None
        text = "Cancelled: nothing was saved." if error is None else sentence(error)
        self.result.run.show_ready(None, text)

    # ---- what is seen ----

    def _show_viewer_again(self) -> None:
        self.layers.end()
        self.viewer.bind_key("Enter", None, overwrite=True)

    def _show_parts(self) -> None:
        """Show what belongs to this moment: the choices, or the region."""
        for part in (self.intro, *self._lines, self.model, self.setup):
            part.setVisible(not self._auditing)
        shown = self.field is not None
        self.counting.setVisible(shown)
        self.run.setVisible(not shown)
        self.result.setVisible(False)
        if not self._auditing and self.audit is not None:
            hint(self.run.message, "")

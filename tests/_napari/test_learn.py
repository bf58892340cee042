"""The *Learn* widget: real widgets and clicks; learning itself is replaced by a quick fake."""

from __future__ import annotations

import gc
import re
import shutil
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QDialogButtonBox, QDockWidget, QLabel

from celltally import zoo
from celltally._napari import counting, learn_follow, learning, model_section
from celltally._napari.learn import LearnWidget
from celltally._napari.learn_curve import LEVEL, LossCurve
from celltally._napari.learn_marks import AFTER, BEFORE, TRUE
from celltally._napari.learn_trace import Trace
from celltally._napari.learn_words import EMPTY, FIND_MOVED
from celltally._napari.learning import Learnt
from celltally.errors import UserError
from celltally.learn.outcome import Compared, Example, FineTuned, RegionCounts
from celltally.lineage import lineages
from celltally.project import images, study_lock, work
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.store import Store
from celltally.record import Learned
from celltally.types import Dots, Progress, Region

pytestmark = pytest.mark.gui

SHAPE = (96, 120)


def compared(judge, before, after):
    region = RegionCounts("a.tif", "a", "1", 21.0, 21.0 - before, 21.0 - after)
    return Compared(judge, (region, replace(region, image="b.tif", region="2")))


def example(seed=0):
    rng = np.random.default_rng(seed)
    return Example(
        image="a.tif", judge="kept back", pixels=rng.integers(0, 40, (60, 60)).astype(np.uint8),
        counted=21.0, before=14.2, after=19.8, dots=np.array([[15.0, 15.0], [45.0, 15.0]]),
        dots_before=np.array([[15.0, 45.0]]), dots_after=np.array([[45.0, 45.0]]),
    )  # fmt: skip


class FakeLearning:
    """Stands in for reading the project and learning."""

    def __init__(self, model):
        self.model, self.asked = model, []
        self.steps, self.pause, self.error, self.closed = 6, 0.01, None, False
        self.helped = True
        self.missing = ()

    def learn(self, asked, trace):
        self.asked.append(asked)
        try:
            yield Progress(0, 0, "reading")
            for i in range(self.steps):
                values = {"loss": 1.0 / (i + 1)}
                if i % 3 == 2:
                    values |= {"val_loss": 2.0 / (i + 1), "parent_loss": 1.0}
                step = Progress(i, self.steps, "learning", values)
                trace.put(step)
                yield step
                time.sleep(self.pause)
            if self.error is not None:
                raise self.error
            said = (
                ("It helped.", "half the error is gone")
                if self.helped
                else ("It did not help.", "review more")
            )
            tuned = FineTuned(
                self.model, (compared("kept back", 7.0, 1.0), compared("audit", 5.0, 2.0)),
                self.helped, said, tuple(example(i) for i in range(5)),
            )  # fmt: skip
            return Learnt(tuned, asked.name, asked.parent is None, self.missing)
        finally:
            self.closed = True


def square(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """The user's models are in the test's folder."""
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def reviewed(tmp_path, scatter, draw_cells):
    """A project of three images with a reviewed region each, one of them with a stated count."""
    path = tmp_path / "wells.celltally"
    rng = np.random.default_rng(0)
    with Store(path, author="Ada") as store:
        for i in range(4):
            yx = scatter(10, SHAPE, rng)
            file = tmp_path / f"well_{i}.tif"
            tifffile.imwrite(file, draw_cells(yx, SHAPE, rng=rng))
            number = images.register(store, name=file.name, path=file, shape=SHAPE)
            dots = Dots.new(yx, state=np.array(["added"] * 3 + ["confirmed"] * (len(yx) - 3)))
            stated = len(yx) if i == 3 else None
            region = Region(square(-0.5, -0.5, *SHAPE), "reviewed", stated=stated)
            changes = (*diff_dots(Dots.new(), dots), *diff_regions((), [region]))
            work.record(store, number, Edit("draw", changes))
    return path


@pytest.fixture
def fake(monkeypatch, tiny_model, counter, at_home, make_record):
    """Learning and the list of models, replaced by quick fakes; what is kept is really saved."""
    own = FakeLearning(tiny_model)

    def models():
        yield Progress(0, 0)
        shipped = [make_record(), make_record(name="other", sha256="cd" * 32, files={})]
        found = [zoo.read_record(f) for f in sorted(at_home.glob("*"))] if at_home.is_dir() else []
        return [*shipped, *found]

    monkeypatch.setattr(learning, "learn_job", own.learn)
    monkeypatch.setattr(counting, "list_models_job", models)
    monkeypatch.setattr(model_section, "list_models_job", models)
    monkeypatch.setattr(learn_follow, "QUIET", 20)
    return own


@pytest.fixture
def until(qtbot):
    return lambda done: qtbot.waitUntil(done, timeout=20_000)


@pytest.fixture
def open_learn(viewer, until):
    """Opens the widget, on a project where one is given."""
    widgets = []

    def opened(path=None):
        widget = LearnWidget(viewer)
        widgets.append(widget)
        viewer.window.add_dock_widget(widget, name="Learn")
        viewer.window._qt_window.show()
        if path is not None:
            widget.saving.open(path)
            until(lambda: widget.saving.store is not None and widget.saving.store.path == path)
        until(lambda: widget.follow.material is not None and not widget.follow.busy)
        until(lambda: bool(widget.follow.models.records))
        return widget

    yield opened
    for widget in widgets:
        widget.leave()


@pytest.fixture
def learn(fake, viewer, tally, open_learn, reviewed, until):
    """The widget beside Tally, on a project in which something was reviewed."""
    widget = open_learn(reviewed)
    until(widget.run.run.button.isEnabled)
    return widget


@pytest.fixture
def learnt(learn, click, until):
    """The widget with a new version that is to be decided on."""
    click(learn.run.run.button)
    until(lambda: learn.learnt is not None and shown(learn) is not None)
    return learn


def shown(learn):
    """The place that is shown large."""
    return learn.outcome.examples.view.example


def names(box):
    return [box.itemText(i) for i in range(box.count())]


# ---- what there is ----


def test_it_says_how_to_begin(fake, viewer, tally, open_learn, click):
    widget = open_learn()
    assert widget.material.words.text() == EMPTY
    assert widget.saving.name == "My counts"
    assert not widget.run.run.button.isEnabled()
    assert not widget.run.new_button.isEnabled()
    click(widget.run.run.button)
    widget.start()
    widget.ask_new()
    assert not widget.running
    assert widget.dialog is None
    assert fake.asked == []


def test_it_shows_what_was_reviewed_and_proposes_a_name(learn):
    assert learn.material.words.text().startswith("3 reviewed regions in 4 images, 30 dots, 9 cor")
    assert "1 region with only a stated count" in learn.material.words.text()
    assert learn.material.model.text() == "fake"
    assert learn.material.name == "fake – wells"
    assert learn.material.problem() is None
    assert learn.run.run.button.isEnabled()


def test_a_long_name_pushes_nothing_out_of_sight(learn, make_record, until):
    room = learn.material.minimumSizeHint().width()
    learn.material.show_model(make_record(name="M" * 80), tally=True)
    learn.material.show_material(learn.follow.material, "W" * 80)
    assert learn.material.minimumSizeHint().width() <= room


def test_it_lies_beside_tally(learn, viewer, until):
    window = viewer.window._qt_window
    docks = {d.widget().__class__.__name__: d for d in window.findChildren(QDockWidget)}
    mine, other = docks["LearnWidget"], docks["TallyWidget"]
    until(lambda: mine in window.tabifiedDockWidgets(other))


def test_it_opens_tally_where_it_is_closed(fake, viewer, manifest, open_learn, reviewed, click,
                                           until):  # fmt: skip
    widget = open_learn(reviewed)
    assert "Tally" in widget.material.problem()
    assert not widget.run.run.button.isEnabled()
    click(widget.material.tally_button)
    until(lambda: widget.material.parent_record is not None)
    assert widget.material.problem() is None
    assert not widget.material.tally_button.isVisible()


def test_it_leaves_nothing_behind_when_it_is_closed(fake, viewer, tally, until):
    def opened_and_closed():
        widget = LearnWidget(viewer)
        dock = viewer.window.add_dock_widget(widget, name="Learn")
        until(lambda: bool(widget.follow.models.records))
        dock.destroyOnClose()
        return weakref.ref(widget)

    def collected():
        gc.collect()
        return gone() is None

    gone = opened_and_closed()
    until(collected)


def test_it_follows_tally(learn, tally, until):
    box = tally.model.model_box
    box.setCurrentIndex(box.findText("other"))
    assert learn.material.model.text() == "other"
    assert learn.material.name == "other – wells"
    dock = tally.parentWidget()
    dock.destroyOnClose()
    until(lambda: learn.follow.tally is None)
    assert learn.material.tally_button.isVisibleTo(learn)


def test_a_typed_name_stays_and_is_checked(learn, tally, qtbot, fake):
    edit = learn.material.name_edit
    edit.selectAll()
    qtbot.keyClicks(edit, "other")
    assert "already" in learn.run.run.message.text()
    assert not learn.run.run.button.isEnabled()
    learn.start()
    assert fake.asked == []
    qtbot.keyClicks(edit, " two")
    assert learn.run.run.button.isEnabled()
    box = tally.model.model_box
    box.setCurrentIndex(box.findText("other"))
    assert learn.material.name == "other two"
    edit.selectAll()
    qtbot.keyClick(edit, Qt.Key.Key_Delete)
    assert "name" in learn.material.problem()


def test_what_is_reviewed_meanwhile_comes_in(learn, until):
    store = learn.saving.store
    region = Region(square(0, 0, 40, 40), "audit")
    learn.saving.line.do(
        lambda: work.record(store, 1, Edit("draw", diff_regions((), [region])), author="Bo")
    )
    until(lambda: learn.saving.line.idle)
    learn.saving.marked.emit()
    until(lambda: "1 audit region" in learn.material.words.text())
    assert learn.follow.material.teaching.by == ("Ada", "Bo")


def test_another_project_is_read(learn, tmp_path, until):
    learn.saving.open(tmp_path / "empty.celltally")
    until(lambda: learn.material.words.text() == EMPTY)
    assert not learn.run.run.button.isEnabled()


# ---- learn ----


def test_learning_shows_progress_and_curves(learn, fake, click, until):
    fake.steps, fake.pause = 400, 0.01
    click(learn.run.run.button)
    assert learn.running
    assert not learn.run.new_button.isVisible()
    until(lambda: bool(learn.curves.validation.points))
    until(lambda: "left" in learn.run.left.text())
    assert learn.curves.isVisible()
    assert learn.curves.loss.last == 400
    assert learn.curves.validation.level == 1.0
    assert "Learning" in learn.run.run.bar.format()
    shares = []
    learn.run.run.bar.valueChanged.connect(shares.append)
    until(lambda: learn.learnt is not None)
    assert shares == sorted(shares)
    assert len(learn._trace.curves().loss) == 400  # of every step, not of every report
    asked = fake.asked[0]
    assert (asked.name, asked.project, asked.by) == ("fake – wells", "wells", ("Ada",))
    assert asked.parent.name == "fake"


def test_cancel_leaves_nothing(learn, tally, fake, click, until, at_home):
    fake.steps, fake.pause = 10_000, 0.005
    click(learn.run.run.button)
    until(lambda: learn.curves.isVisible())
    click(learn.run.run.cancel_button)
    until(lambda: not learn.running)
    assert fake.closed
    assert "Cancelled" in learn.run.run.message.text()
    assert learn.learnt is None
    assert not learn.curves.isVisible()
    assert not at_home.exists()
    assert names(tally.model.model_box) == ["fake", "other"]
    assert learn.run.run.button.isEnabled()


@pytest.mark.parametrize("error", [UserError("too few dots"), RuntimeError("torch")])
def test_a_failure_is_told(learn, fake, click, until, error):
    fake.error = error
    click(learn.run.run.button)
    until(lambda: not learn.running)
    told = learn.run.run.message.text()
    assert told.startswith("Too few dots" if isinstance(error, UserError) else "Something went")
    assert learn.run.run.button.isEnabled()


def test_counting_goes_on_meanwhile(learn, tally, fake, viewer, image, press, click, until):
    viewer.add_image(image, name="cells")
    fake.steps, fake.pause = 10_000, 0.005
    click(learn.run.run.button)
    tally.parentWidget().raise_()
    until(lambda: tally.isVisible())
    press(tally)
    assert tally.result.interval is not None
    assert learn.running
    assert tally.model.record.name == "fake"
    learn.cancel()
    until(lambda: not learn.running)


def test_closing_the_widget_ends_learning(learn, fake, click, until):
    fake.steps, fake.pause = 10_000, 0.005
    click(learn.run.run.button)
    until(lambda: bool(fake.asked))
    learn.parentWidget().destroyOnClose()
    until(lambda: fake.closed)


def test_qt_may_take_its_parts_in_any_order_at_the_end(learn, monkeypatch):
    def gone():
        raise RuntimeError("wrapped C/C++ object has been deleted")

    learn.follow._quiet.stop()
    monkeypatch.setattr(learn.follow, "_quiet", SimpleNamespace(stop=gone))
    learn.leave()
    assert learn.follow.tally is None
    learn.leave()


# ---- before and after ----


def test_before_and_after_are_shown(learnt, until):
    outcome = learnt.outcome
    assert outcome.isVisible()
    assert outcome.verdict.text() == "It helped."
    assert outcome.sentences.text() == "Half the error is gone."
    assert "Not kept yet" in outcome.undecided.text()
    assert [button.isVisible() for button in outcome.examples.buttons] == [True] * 4
    assert not learnt.run.isVisible()
    assert not learnt.material.isVisible()


def test_pictures_follow_the_words_a_turn_later(learnt, qtbot):
    outcome, one = learnt.outcome, learnt.learnt
    other = replace(one, tuned=replace(one.tuned, examples=(example(),)))
    outcome.show_learnt(other)
    assert outcome.verdict.isVisible()
    assert not outcome.examples.isVisible()
    assert shown(learnt) is None
    qtbot.waitUntil(lambda: shown(learnt) is other.tuned.examples[0])
    assert outcome.examples.isVisible()


def test_pictures_of_what_was_discarded_do_not_follow(learnt, qtbot):
    outcome, one = learnt.outcome, learnt.learnt
    outcome.show_learnt(one)
    outcome.clear()
    qtbot.wait(50)
    assert shown(learnt) is None
    outcome.show_learnt(one)
    outcome.clear()
    other = replace(one, tuned=replace(one.tuned, examples=(example(),)))
    outcome.show_learnt(other)
    qtbot.waitUntil(lambda: shown(learnt) is not None)
    assert shown(learnt) is other.tuned.examples[0]


def test_each_fact_is_shown_once_on_a_line_of_its_own(learnt):
    said = ("it helped", "On 1 region the error went from 1.2 to 0.8", "few regions judge.")
    tuned = replace(learnt.learnt.tuned, sentences=said)
    learnt.outcome.show_learnt(replace(learnt.learnt, tuned=tuned))
    assert learnt.outcome.verdict.text() == "It helped."
    lines = learnt.outcome.sentences.text().splitlines()
    assert lines == ["•\xa0On 1 region the error went from 1.2 to 0.8.", "•\xa0Few regions judge."]
    shown = [label.text() for label in learnt.outcome.findChildren(QLabel)]
    assert sum("1.2" in words for words in shown) == 1


def test_that_it_did_not_help_is_as_visible(learn, fake, click, until):
    fake.helped, fake.missing = False, ("x.tif is missing",)
    click(learn.run.run.button)
    until(lambda: learn.learnt is not None)
    assert learn.outcome.verdict.text() == "It did not help."
    assert learn.outcome.verdict.isVisible()
    assert learn.outcome.sentences.text() == "Review more."
    assert learn.outcome.missing.text() == "Left out: x.tif is missing."


def colours(widget):
    picture = widget.grab().toImage()
    return {
        picture.pixelColor(x, y).name()
        for x in range(picture.width())
        for y in range(picture.height())
    }


def test_a_place_is_shown_with_the_dots_of_person_and_models(learnt):
    view = learnt.outcome.examples.view
    assert {TRUE.name(), BEFORE.name(), AFTER.name()} <= colours(view)
    assert learnt.outcome.examples.caption.text().startswith("a.tif, whole region:\nyou")
    assert learnt.outcome.examples.caption.toolTip() == "a.tif"


def test_a_place_is_as_wide_as_there_is_room(learnt, viewer, until):
    examples = learnt.outcome.examples
    view = examples.view
    until(lambda: view.width() == examples.width())
    assert view.height() == view.width()
    pixels = np.zeros((30, 60, 3), dtype=np.uint8)
    view.show_example(replace(example(), pixels=pixels))
    until(lambda: view.height() == round(view.width() / 2))


def test_another_place_is_chosen(learnt, click):
    examples = learnt.outcome.examples
    first = examples.view.example
    click(examples.buttons[2])
    assert examples.view.example is not first
    assert examples.buttons[2].isChecked()
    assert not examples.buttons[0].isChecked()
    examples.show_examples([first, replace(first, image="b.tif")])
    assert examples.view.example is first
    assert [button.isVisible() for button in examples.buttons] == [True, True, False, False]
    examples.show_examples([first])
    assert not any(button.isVisible() for button in examples.buttons)
    examples.show_examples([])
    assert not examples.isVisible()
    assert examples.view.example is None


def test_a_curve_is_drawn_with_its_level(qtbot):
    curve = LossCurve("Kept-back regions", "model in use")
    qtbot.addWidget(curve)
    curve.resize(300, curve.height())
    curve.show_points([(1, 2.0), (2, 1.0), (3, 0.5)], 10, level=1.5)
    assert LEVEL.name() in colours(curve)
    assert curve.place(10, 0).x() > curve.place(1, 0).x()
    assert curve.place(1, 2.0).y() < curve.place(1, 1.0).y()
    assert curve.words() == "Kept-back regions: 0.5 after step 3; model in use: 1.5"
    curve.show_points([], 1)
    assert LEVEL.name() not in colours(curve)
    assert "nothing yet" in curve.words()


def test_single_losses_do_not_squeeze_the_curve(qtbot):
    curve = LossCurve("Loss")
    qtbot.addWidget(curve)
    curve.show_points([(float(i), 1.0 if i else 1e6) for i in range(60)], 60)
    assert curve.top() == 1.0


# ---- keep or discard ----


def test_nothing_is_listed_before_keep(learnt, tally, at_home):
    assert not at_home.exists()
    assert names(tally.model.model_box) == ["fake", "other"]


def test_keep_saves_and_selects(learnt, tally, click, until, at_home):
    click(learnt.outcome.keep_button)
    until(lambda: learnt.learnt is None)
    until(lambda: tally.model.record is not None and tally.model.record.name == "fake – wells")
    until(lambda: any(r.name == "fake – wells" for r in learnt.follow.models.records))
    assert zoo.load(at_home / "fake – wells").sha256 == learnt.follow.record.sha256
    assert (
        "Kept as “fake – wells”, and chosen in Tally: press Count" in learnt.run.run.message.text()
    )
    assert not learnt.outcome.isVisible()
    assert learnt.material.name == "fake – wells 2"
    assert learnt.material.isVisible()


def test_models_are_not_read_twice_beside_each_other(learnt, tally, click, until, monkeypatch):
    read = []
    monkeypatch.setattr(learning, "models_job", lambda: read.append(1) or iter(()))
    click(learnt.outcome.keep_button)
    until(lambda: any(r.name == "fake – wells" for r in learnt.follow.models.records))
    assert list(learnt.follow.models.records) == tally.model.records()
    assert read == []


def test_discard_drops_it(learnt, tally, click, at_home):
    click(learnt.outcome.discard_button)
    assert learnt.learnt is None
    assert not at_home.exists()
    assert "Discarded" in learnt.run.run.message.text()
    assert names(tally.model.model_box) == ["fake", "other"]
    assert learnt.run.run.button.isEnabled()


def test_a_name_that_cannot_be_kept_is_told(learnt, click, until, at_home):
    for name in ("other/", "general"):
        learnt.outcome.name_edit.setText(name)
        click(learnt.outcome.keep_button)
        until(lambda: learnt.outcome.keep_button.isEnabled())
        assert learnt.outcome.problem.text()
        assert learnt.learnt is not None
    assert not at_home.exists()


def test_a_locked_study_asks_first(learnt, tally, click, until, monkeypatch, at_home):
    lock = study_lock.Lock("fake", "ab" * 32)
    material = replace(learnt.follow.material, lock=lock)
    learnt.follow.material = material
    asked = []
    monkeypatch.setattr(learnt, "_ask", lambda words: asked.append(words))  # None: no
    click(learnt.outcome.keep_button)
    until(lambda: learnt.learnt is None)
    assert "locked to fake (abababab)" in asked[0]
    assert (at_home / "fake – wells").is_dir()
    until(lambda: not tally.model.loading)
    assert tally.model.record.name == "fake"
    assert learnt.run.run.message.text().startswith("Kept as “fake – wells”; Tally goes on with")
    until(lambda: any(r.name == "fake – wells" for r in learnt.follow.models.records))


# ---- versions ----


def test_go_back_to_an_older_version(learn, tally, fake, make_record, click, until):
    record = tally.model.record
    learned = Learned(
        project="wells", by=("Ada",), date="2026-02-03T10:20Z", images=1, regions=2, stated=0,
        excluded=0, dots=9, corrected=1, kept_back=0, audits=0, helped=None, metrics={},
    )  # fmt: skip
    child = make_record(name="child", sha256="ee" * 32, parent=record.sha256, learned=learned)
    box = tally.model.model_box
    box.addItem("child", child)
    records = (*learn.follow.models.records, child)
    learn.follow.models = learning.ModelsAtHand(records, lineages(records))
    box.setCurrentIndex(box.findText("child"))
    tree = learn.versions.tree
    root = tree.topLevelItem(0)
    assert root.text(0).startswith("fake\n")
    assert root.child(0).text(0).startswith("child\nin use\n")
    tree.setCurrentItem(root.child(0))
    assert not learn.versions.use_button.isEnabled()
    tree.setCurrentItem(root)
    click(learn.versions.use_button)
    until(lambda: not tally.model.loading)
    assert tally.model.record.name == "fake"
    assert learn.run.run.message.text().startswith("“fake” is chosen in Tally")


def test_a_model_without_versions_says_so(learn):
    assert learn.versions.words.isVisible()
    assert not learn.versions.tree.isVisible()


# ---- from nothing ----


def test_a_new_model_is_asked_for_and_trained(learn, fake, click, qtbot, until):
    click(learn.run.new_button)
    dialog = learn.dialog
    ok = dialog.buttons.button(QDialogButtonBox.StandardButton.Ok)
    click(ok)
    assert "name" in dialog.problem.text()
    qtbot.keyClicks(dialog.name_edit, "pollen")
    qtbot.keyClicks(dialog.sample_edit, "Pollen on a slide")
    dialog.minutes_edit.setValue(2)
    assert "about 2 min" in dialog.takes.text()
    click(ok)
    until(lambda: learn.learnt is not None)
    asked = fake.asked[0]
    assert (asked.name, asked.parent, asked.sample) == ("pollen", None, "Pollen on a slide")
    assert asked.minutes == 2.0
    assert learn.outcome.name_edit.text() == "pollen"
    assert learn.outcome.title.text() == "How well it counts"
    until(lambda: learn.outcome.examples.caption.text().endswith("you\xa021, it\xa020"))


# ---- the job ----


@pytest.fixture
def finetuning(monkeypatch, tiny_model, at_home):
    """Learning itself, replaced by what looks at the data set only."""
    from celltally.learn import finetune, new_model

    seen = SimpleNamespace(model=None, folders=None, images=None, options=None, closed=False)

    def fake(model, data, **options):
        seen.model, seen.folders, seen.options = model, list(data), options
        seen.images = sorted(path.name for path in (data[0] / "images").iterdir())
        try:
            for i in range(1000):
                yield Progress(i, 1000, "learning", {"loss": 1.0})
            return FineTuned(tiny_model, (), None, ("nothing was kept back",))
        finally:
            seen.closed = True

    monkeypatch.setattr(finetune, "iter_finetune", fake)
    monkeypatch.setattr(
        new_model, "iter_new_model", lambda data, **options: fake(None, data, **options)
    )
    return seen


@pytest.mark.parametrize("from_nothing", [False, True])
def test_the_job_exports_and_learns(finetuning, reviewed, tiny, from_nothing):
    parent = None if from_nothing else zoo.read_record(tiny)
    with Store(reviewed, read_only=True) as store:
        asked = learning.Asked(store, "new", parent, project="wells", by=("Ada",), sample="discs")
        trace = Trace()
        job = learning.learn_job(asked, trace)
        messages = set()
        while True:
            try:
                messages.add(next(job).message)
            except StopIteration as end:
                result = end.value
                break
    assert result.name == "new"
    assert finetuning.images == [f"well_{i}.png" for i in range(4)]
    assert finetuning.options["name"] == "new"
    assert finetuning.options["by"] == ("Ada",)
    assert result.from_nothing == from_nothing
    assert (finetuning.model is None) == from_nothing
    assert not finetuning.folders[0].exists()  # and the data set is gone
    assert len(trace.curves().loss) == 1000
    assert {"reading what you reviewed", "loading the model", "learning"} <= messages


def run(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_the_job_says_in_words_of_the_window_which_files_are_missing(finetuning, reviewed, tiny):
    files = sorted(reviewed.parent.glob("well_*.tif"))
    files[0].unlink()
    with Store(reviewed, read_only=True) as store:
        asked = learning.Asked(store, "new", zoo.read_record(tiny))
        said = f"well_0.tif is not where it was: {FIND_MOVED}"
        assert run(learning.learn_job(asked, Trace())).missing == (said,)
        for file in files[1:]:
            file.unlink()
        with pytest.raises(UserError, match=re.escape(said)):
            run(learning.learn_job(asked, Trace()))


def test_a_job_that_is_closed_leaves_nothing(finetuning, reviewed, tiny):
    with Store(reviewed, read_only=True) as store:
        asked = learning.Asked(store, "new", zoo.read_record(tiny))
        job = learning.learn_job(asked, Trace())
        while next(job).total != 1000:
            pass
        job.close()
    assert finetuning.closed
    assert not finetuning.folders[0].parent.exists()


def test_the_job_waits_until_all_is_saved(finetuning, reviewed, tiny):
    with Store(reviewed, read_only=True) as store:
        answers = iter([False, False, True])
        asked = learning.Asked(store, "new", zoo.read_record(tiny), saved=lambda: next(answers))
        job = learning.learn_job(asked, Trace())
        assert [next(job).message[:7] for _ in range(3)] == ["waiting", "waiting", "reading"]
        job.close()


# ---- all of it, for real ----


@pytest.fixture
def quick(monkeypatch, tiny, at_home, counter):
    """Learning for real, in a few steps; the only model at hand is a tiny one."""
    from celltally.learn import finetune

    shutil.copytree(tiny, at_home / "tiny")
    real, seen = finetune.iter_finetune, []

    def few_steps(model, data, **options):
        seen.append(model)
        return real(model, data, **options, steps=6, device="cpu")

    def models():
        yield Progress(0, 0)
        return [zoo.read_record(folder) for folder in sorted(at_home.glob("[!.]*"))]

    monkeypatch.setattr(finetune, "iter_finetune", few_steps)
    monkeypatch.setattr(counting, "list_models_job", models)
    monkeypatch.setattr(model_section, "list_models_job", models)
    return seen


def test_it_really_learns(quick, viewer, tally, open_learn, reviewed, click, until, at_home):
    learn = open_learn(reviewed)
    before = (at_home / "tiny" / "model.json").read_bytes()
    click(learn.run.run.button)
    until(lambda: learn.learnt is not None or not learn.running)
    assert learn.learnt is not None, learn.run.run.message.text()
    assert len(learn._trace.curves().loss) == 6
    assert learn.curves.loss.points
    assert learn.outcome.verdict.text()
    assert [f.name for f in at_home.iterdir()] == ["tiny"]  # until it is kept
    click(learn.outcome.keep_button)
    until(lambda: tally.model.record is not None and tally.model.record.name == "tiny – wells")
    record = tally.model.record
    assert record.parent == quick[0].sha256
    assert record.learned.project == "wells"
    assert record.learned.by == ("Ada",)
    until(lambda: learn.versions.tree.topLevelItemCount() == 1)
    root = learn.versions.tree.topLevelItem(0)
    assert root.text(0).startswith("tiny\n")
    until(lambda: root.childCount() == 1)
    assert root.child(0).text(0).startswith("tiny – wells\nin use\n")
    assert (at_home / "tiny" / "model.json").read_bytes() == before


def test_colours_are_told_apart():
    grey = [QColor.lightness(colour) for colour in (TRUE, BEFORE, AFTER)]
    assert len(set(grey)) == 3

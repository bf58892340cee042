"""A human's work is on the disk at every moment, and the same in memory and in the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.edits import Change, Edit, Work, diff_dots, diff_regions, dot_record
from celltally.project.images import register
from celltally.project.store import Store
from celltally.project.work import last_step, load_dots, load_regions, load_work, log, record
from celltally.types import DOT_STATES, REGION_KINDS, Dots, Region

SQUARE = np.array([(0.0, 0), (0, 9), (9, 9), (9, 0)])


class Editor:
    """Edits a work in memory and the project beside it, as the window does."""

    def __init__(self, store: Store, image_id: int) -> None:
        self.store, self.image_id = store, image_id
        self.work = load_work(store, image_id)

    def do(self, action, dots=None, regions=None, kind="edit") -> Edit:
        work = self.work
        changes = () if dots is None else diff_dots(work.dots, dots)
        changes += () if regions is None else diff_regions(work.regions, regions)
        return self.keep(work.do(Edit(action, changes, kind)))

    def keep(self, edit):
        if edit is not None:
            record(self.store, self.image_id, edit)
        return edit

    def undo(self):
        return self.keep(self.work.undo())

    def redo(self):
        return self.keep(self.work.redo())


@pytest.fixture
def editor(store, image_id):
    return Editor(store, image_id)


@pytest.fixture
def same(told):
    """Fails unless two works are the same in everything."""

    def check(one: Work, other: Work):
        assert told(one.dots, one.regions) == told(other.dots, other.regions)
        assert one._done == other._done
        assert one._undone == other._undone

    return check


def joined(*parts: Dots) -> Dots:
    names = ("yx", "id", "t", "z", "label", "score", "state", "source")
    return Dots(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def test_an_untouched_image(store, image_id):
    work = load_work(store, image_id)
    assert (len(work.dots), work.regions) == (0, ())
    assert (work.undoable, work.redoable) == (None, None)
    assert last_step(store, image_id) == 0


def test_what_was_recorded_is_there(store, image_id, editor, dots, same):
    editor.do("count", dots(30, source="f" * 64), kind="system")
    editor.do("remove", editor.work.dots[5:])
    editor.do("review", regions=[Region(SQUARE, "reviewed", "ä", t=2, z=1)])
    same(load_work(store, image_id), editor.work)
    editor.do("state", regions=[replace(editor.work.regions[0], stated=37.5)])
    same(load_work(store, image_id), editor.work)
    assert load_regions(store, image_id)[0].stated == 37.5
    assert last_step(store, image_id) == 4


def test_dots_come_in_the_same_order_every_time(store, image_id, editor, dots):
    editor.do("add", dots(50))
    first = load_dots(store, image_id)
    assert first.id.tolist() == sorted(first.id)
    editor.do("move", replace(editor.work.dots, yx=editor.work.dots.yx + 1))
    assert load_dots(store, image_id).id.tolist() == first.id.tolist()


def test_images_are_apart(store, editor, dots, same):
    other = Editor(store, register(store, name="other", pixels_sha256="ab"))
    shared = dots(5)  # the same ids in two images
    editor.do("add", shared)
    other.do("add", shared)
    other.do("remove", shared[:2])
    same(load_work(store, editor.image_id), editor.work)
    same(load_work(store, other.image_id), other.work)
    assert len(load_dots(store, editor.image_id)) == 5
    assert last_step(store, other.image_id) > last_step(store, editor.image_id)


def test_who_when_what_before_and_after(path, store, image_id, dots):
    before = dots(1)
    after = replace(before, yx=before.yx + 1)
    edit = Edit("move", diff_dots(before, after))
    first = record(store, image_id, Edit("add", diff_dots(Dots.new(), before)), detail={"n": 1})
    second = record(store, image_id, edit, author="Grace")
    assert second > first
    with store.read() as connection:
        steps = connection.execute(sa.select(schema.steps)).all()
        change = connection.execute(
            sa.select(schema.changes).where(schema.changes.c.step_seq == second)
        ).one()
    assert [(s.author, s.action, s.kind, s.detail) for s in steps] == [
        ("Ada", "add", "edit", '{"n": 1}'), ("Grace", "move", "edit", "{}")
    ]  # fmt: skip
    assert steps[0].made <= steps[1].made
    assert (change.item, change.item_id) == ("dot", before.id[0])
    assert '"x"' in change.before
    assert change.before != change.after
    assert log(store, image_id)[1] == edit


def test_what_counting_did_is_a_step_without_changes(store, image_id, dots):
    record(store, image_id, Edit("count", diff_dots(Dots.new(), dots(9)), "system"))
    assert len(load_dots(store, image_id)) == 9
    assert log(store, image_id) == []
    assert last_step(store, image_id) == 1
    with store.read() as connection:
        assert connection.execute(sa.select(schema.changes)).all() == []


def test_a_step_of_the_whole_project(store, image_id):
    record(store, None, Edit("lock", (), "system"), detail={"model": "general"})
    assert last_step(store, image_id) == 0
    with store.read() as connection:
        assert connection.execute(sa.select(schema.steps.c.image_id)).scalar() is None


def test_an_edit_is_made_once_however_often_it_is_recorded(store, image_id, editor, dots, same):
    edit = editor.do("add", dots(3))
    moved = editor.do("move", replace(editor.work.dots, yx=editor.work.dots.yx + 1))
    assert record(store, image_id, edit) == 1  # it is not known whether it was written
    assert record(store, image_id, moved) == 2
    same(load_work(store, image_id), editor.work)
    assert last_step(store, image_id) == 2


def test_an_edit_that_fails_is_not_there_at_all(store, image_id, editor, dots, same):
    editor.do("add", dots(3))
    good, nowhere = dots(1, seed=4), dots(1, seed=5)
    nowhere.yx[0, 0] = np.nan
    bad = Edit("add", (*diff_dots(Dots.new(), good), *diff_dots(Dots.new(), nowhere)))
    with pytest.raises(UserError, match=r"could not be written \(NOT NULL"):
        record(store, image_id, bad)
    same(load_work(store, image_id), editor.work)
    assert record(store, image_id, Edit("add", diff_dots(Dots.new(), good))) == 2


def test_undo_and_redo_after_restarts(path, dots, same):
    with Store(path) as store:
        number = register(store, name="a", pixels_sha256="ab")
        editor = Editor(store, number)
        editor.do("add", dots(5))
        for i in range(10):
            yx = editor.work.dots.yx.copy()
            yx[i % 5] += i
            editor.do("move", replace(editor.work.dots, yx=yx))
        history = []
        for _ in range(6):
            history.append(editor.work.dots)
            editor.undo()
    for _ in range(3):
        with Store(path) as store:
            editor = Editor(store, number)
            editor.redo()
            editor.redo()
            expected = history.pop(), history.pop()
            order = np.argsort(expected[1].id)
            assert editor.work.dots.yx.tolist() == expected[1].yx[order].tolist()
            same(load_work(store, number), editor.work)
    with Store(path) as store:
        editor = Editor(store, number)
        assert editor.redo() is None
        while editor.undo():
            pass
        assert len(load_dots(store, number)) == 0
        while editor.redo():
            pass
        assert len(load_dots(store, number)) == 5


# ---- any history ----

ACTIONS = ["add", "move", "mark", "class", "delete", "region", "restate", "unregion", "mixed",
           "count", "undo", "undo", "redo", "restart"]  # fmt: skip
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2**31)), min_size=1, max_size=30
)
LABELS = st.text(min_size=1, max_size=5).filter(lambda s: not s.endswith("\0"))


def act(editor: Editor, action: str, seed: int, labels: list[str]) -> None:
    rng = np.random.default_rng(seed)
    work = editor.work
    dots, regions = work.dots, list(work.regions)
    some = rng.random(len(dots)) < rng.choice([0.2, 1.0])
    new = Dots.new(
        rng.choice([1e-300, 1.0, 1e6], (3, 1)) * rng.normal(0, 1, (3, 2)),
        t=rng.integers(0, 3), score=rng.choice([np.nan, 0.1, 3e38]),
        label=rng.choice(labels), state=rng.choice(DOT_STATES), source=rng.choice(labels),
    )[: rng.integers(1, 4)]  # fmt: skip
    region = Region(SQUARE * rng.random(), rng.choice(REGION_KINDS).item(), labels[0], z=2)
    if action == "add":
        editor.do(action, joined(dots, new))
    elif action == "move":
        editor.do(action, replace(dots, yx=dots.yx + some[:, None] * rng.normal(0, 1, 2)))
    elif action == "mark":
        state = np.where(some, rng.choice(DOT_STATES), dots.state)
        editor.do(action, replace(dots, state=state))
    elif action == "class":
        editor.do(action, replace(dots, label=np.where(some, rng.choice(labels), dots.label)))
    elif action == "delete":
        editor.do(action, dots[~some])
    elif action == "region":
        editor.do(action, regions=[*regions, region])
    elif action == "restate" and regions:
        i = rng.integers(len(regions))
        regions[i] = replace(regions[i], stated=rng.choice([0.0, 37.0]).item())
        editor.do(action, regions=regions)
    elif action == "unregion" and regions:
        del regions[rng.integers(len(regions))]
        editor.do(action, regions=regions)
    elif action == "mixed":
        editor.do(action, joined(new, dots[~some][::-1]), [*regions[1:], region])
    elif action == "count":
        kept = dots[dots.state != "proposed"]
        editor.do(action, joined(kept, replace(new, state=np.full(len(new), "proposed"))),
                  kind="system")  # fmt: skip
    elif action == "undo":
        editor.undo()
    elif action == "redo":
        editor.redo()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A project that all histories are written into, each of an image of its own."""
    with Store(tmp_path_factory.mktemp("shelf") / "histories.celltally") as store:
        yield store


@settings(
    max_examples=30, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(steps=STEPS, labels=st.lists(LABELS, min_size=1, max_size=3))
def test_any_history_is_the_same_in_memory_and_in_the_file(shelf, same, steps, labels):
    number = register(shelf, name="history")
    editor = Editor(shelf, number)
    for action, seed in steps:
        if action == "restart":
            loaded = load_work(shelf, number)
            same(loaded, editor.work)
            editor.work = loaded
        else:
            act(editor, action, seed, labels)
    same(load_work(shelf, number), editor.work)
    while editor.undo():
        pass
    same(load_work(shelf, number), editor.work)
    while editor.redo():
        pass
    same(load_work(shelf, number), editor.work)


@pytest.mark.parametrize("seed", range(2))
def test_a_long_history_over_restarts(path, seed, same):
    rng = np.random.default_rng(seed)
    store = Store(path)
    number = register(store, name="a", pixels_sha256="ab")
    editor = Editor(store, number)
    for action in rng.choice(ACTIONS, 150):
        if action == "restart" and rng.random() < 0.5:
            store.close()
            store = Store(path)
            loaded = load_work(store, number)
            same(loaded, editor.work)
            editor = Editor(store, number)
        else:
            act(editor, action, int(rng.integers(2**31)), ["cell", "ü"])
    same(load_work(store, number), editor.work)
    assert store.check() == []
    store.close()


def test_a_bulk_edit_of_thousands(store, image_id, editor, dots, same):
    editor.do("add", dots(5000))
    editor.do("confirm", replace(editor.work.dots, state=np.full(5000, "confirmed")))
    same(load_work(store, image_id), editor.work)
    editor.undo()
    same(load_work(store, image_id), editor.work)
    changes = editor.work.redoable.changes
    assert len(changes) == 5000
    assert isinstance(changes[0], Change)
    assert changes[0].before == dot_record(editor.work.dots, 0)

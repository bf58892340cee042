"""What the Learn widget says, its curves and its tree of versions, without a window's events."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celltally._napari import learn_words as words
from celltally._napari.learn_curve import MOST_POINTS, thinned
from celltally._napari.learn_versions import (
    family,
    version_details,
    version_error,
    version_lines,
)
from celltally._napari.learning import Trace
from celltally.project.teaching import Teaching
from celltally.record import Learned
from celltally.types import Progress

LEARNED = Learned(
    project="wells", by=("Ada",), date="2026-02-03T10:20", images=3, regions=5, stated=1,
    excluded=0, dots=120, corrected=14, kept_back=2, audits=0, helped=True,
    metrics={"mae_before": 5.21, "mae_after": 1.9},
)  # fmt: skip


def test_material_in_words():
    found = Teaching(images=4, regions=12, stated=2, audits=3, dots=231, corrected=37)
    assert words.material_words(found) == (
        "12 reviewed regions in 4 images, 231 dots, 37 corrected; 2 regions with only a stated "
        "count; 3 audit regions to judge."
    )
    one = Teaching(images=1, regions=1, dots=1)
    assert words.material_words(one) == "1 reviewed region in 1 image, 1 dot."
    stated = Teaching(images=2, stated=1)
    assert words.material_words(stated) == "1 region in 2 images with only a stated count."


def test_what_to_do_where_there_is_nothing():
    assert words.material_words(Teaching()) == words.EMPTY
    audits = words.material_words(Teaching(images=1, audits=2))
    assert audits.startswith("2 audit regions to judge.")
    assert "review others" in audits


def test_images_that_cannot_teach():
    assert words.without_file_words(Teaching()) == ""
    assert "“a” comes from no file" in words.without_file_words(Teaching(without_file=("a",)))
    many = words.without_file_words(Teaching(without_file=("a", "b", "c", "d")))
    assert "“a”, “b” and 2 more come" in many


@pytest.mark.parametrize(
    ("parent", "project", "taken", "proposed"),
    [
        ("general", "my study", (), "general – my study"),
        ("general", "my study", ("General – My Study",), "general – my study 2"),
        ("general – my study", "my study", ("general – my study",), "general – my study 2"),
        (
            "general – my study 2", "my study",
            ("general – my study", "general – my study 2"), "general – my study 3",
        ),
        ("u2os 3", "wells", (), "u2os 3 – wells"),
        ("general", "a/b: c", (), "general – a b  c"),
        ("general", "", ("general",), "general 2"),
    ],
)  # fmt: skip
def test_proposed_names_are_free(parent, project, taken, proposed):
    assert words.proposed_name(parent, project, taken) == proposed
    assert words.name_problem(proposed, taken) is None


def test_long_names_are_cut():
    name = words.proposed_name("general", "x" * 200, ())
    assert words.name_problem(name, ()) is None


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\tb", ".hidden", "end.", "x" * 81, "General"])
def test_names_that_cannot_be(name):
    problem = words.name_problem(name, ["general"])
    assert problem
    assert problem.endswith((".", "81."))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (float("nan"), ""), (2, "A few seconds left"), (31, "About 35 s left"),
     (125, "About 3 min left")],
)  # fmt: skip
def test_time_left(seconds, said):
    assert words.left_words(seconds) == said


def test_before_and_after_in_words():
    compared = SimpleNamespace(
        judge="kept back", regions=[1, 2, 3], images=2, mae_before=5.21, mae_after=1.9
    )
    assert words.compared_line(compared) == (
        "Kept-back regions (3 in 2 images): off by 5.2 → 1.9 cells"
    )
    example = SimpleNamespace(counted=21.0, before=13.7, after=20.2)
    assert words.example_caption(example) == "you 21 · before 14 → after 20"
    assert len({words.verdict(helped) for helped in (True, False, None)}) == 3


def test_every_step_is_traced():
    trace = Trace()
    for i in range(8):
        trace.put(Progress(i, 10, "learning", {"loss": 8.0 - i}), now=float(i))
    trace.put(Progress(8, 10, "learning", {"val_loss": 1.0, "parent_loss": 2.0}), now=8.0)
    curves = trace.curves()
    assert curves.loss[-1] == (8.0, 1.0)
    assert curves.validation == ((8.0, 1.0),)
    assert curves.parent == 2.0
    assert trace.seconds_left() == pytest.approx(2.0)


def test_time_left_is_not_guessed_at():
    trace = Trace()
    assert trace.seconds_left() is None
    trace.put(Progress(0, 0, "reading"), now=0.0)
    trace.put(Progress(1, 100, "learning"), now=9.0)
    trace.put(Progress(2, 100, "learning"), now=9.5)
    assert trace.seconds_left() is None


def test_long_curves_are_thinned():
    points = [(float(i), float(i)) for i in range(1000)]
    thin = thinned([*points, (1000.0, float("nan"))])
    assert len(thin) <= MOST_POINTS
    assert thin == sorted(thin)
    assert thinned(points[:5]) == points[:5]


def test_the_family_of_a_model(make_record):
    root = make_record(name="general", sha256="aa")
    child = make_record(name="child", sha256="bb", parent="aa", learned=LEARNED)
    other = make_record(name="other child", sha256="cc", parent="aa")
    grandchild = make_record(name="grandchild", sha256="dd", parent="bb")
    stranger = make_record(name="stranger", sha256="ee")
    records = [grandchild, stranger, other, child, root]
    for of in (root, child, grandchild):
        tree = family(records, of)
        assert tree.record == root
        assert [c.record.name for c in tree.children] == ["other child", "child"]
        assert [c.record for c in tree.children[1].children] == [grandchild]
    assert family(records, stranger).children == ()
    assert family(records, None) is None


def test_a_parent_that_is_gone_is_shown(make_record):
    child = make_record(name="child", sha256="bb", parent="aa" * 32)
    tree = family([child], child)
    assert tree.record is None
    assert version_lines(tree, in_use=False)[0] == "aaaaaaaa (gone)"
    assert "not among" in version_details(tree)
    assert [c.record for c in tree.children] == [child]


def test_records_that_descend_from_each_other_end(make_record):
    a = make_record(name="a", sha256="aa", parent="bb")
    b = make_record(name="b", sha256="bb", parent="aa")
    assert family([a, b], a) is not None


def test_what_a_version_says(make_record):
    child = family([], make_record(name="child", sha256="bb", learned=LEARNED))
    assert version_lines(child, in_use=True) == (
        "child – in use", "2026-02-03 · 6 regions, 120 dots · Ada",
    )  # fmt: skip
    assert version_error(child) == "5.2 → 1.9"
    details = version_details(child)
    assert "14 corrected" in details
    assert "It helped: off by 5.2 → 1.9 cells a region" in details

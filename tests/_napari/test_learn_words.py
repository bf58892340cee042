"""What the Learn widget says, its curves and its tree of versions, without a window's events."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from celltally._napari import learn_words as words
from celltally._napari.learn_curve import MOST_POINTS, thinned
from celltally._napari.learn_stages import FROM_NOTHING, ROUND, said_of
from celltally._napari.learn_trace import Trace
from celltally._napari.learn_versions import (
    family,
    version_details,
    version_error,
    version_lines,
)
from celltally.lineage import lineages
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
        "12 reviewed regions, 231 dots, 37 corrected; 2 regions with only a stated "
        "count; 3 audit regions to judge; all in 4 images."
    )
    one = Teaching(images=1, regions=1, dots=1)
    assert words.material_words(one) == "1 reviewed region in 1 image, 1 dot."
    stated = Teaching(images=1, stated=1)
    assert words.material_words(stated) == "1 region in 1 image with only a stated count."


def test_what_to_do_where_there_is_nothing():
    assert words.material_words(Teaching()) == words.EMPTY
    for gone in (Teaching(without_file=("a",)), Teaching(moved=("a.tif",))):
        assert "files are not there" in words.material_words(gone)
    audits = words.material_words(Teaching(images=1, audits=2))
    assert audits.startswith("2 audit regions to judge in 1 image.")
    assert "review others" in audits


def test_images_that_cannot_teach():
    assert words.without_file_words(Teaching()) == ""
    one = words.without_file_words(Teaching(without_file=("a",)))
    assert one.startswith("“a” comes from no file")
    assert "save its layer" in one
    many = words.without_file_words(Teaching(without_file=("a", "b", "c", "d"), moved=("e.tif",)))
    assert "“a”, “b” and 2 more come" in many
    assert "“e.tif” cannot teach, for the file is not where it was: press “Images”" in many
    assert "files are not" in words.without_file_words(Teaching(moved=("e.tif", "f.tif")))


@pytest.mark.parametrize("folder", ["", "/data/plate 3/", r"C:\Users\ada\\"])
def test_a_missing_file_is_looked_for_in_the_window(folder):
    said = f"{folder}a b.tif is missing; look for it with 'celltally project find', or leave it out"
    assert words.in_window(said) == f"a b.tif is not where it was: {words.FIND_MOVED}"
    assert words.in_window("a.tif has 3 pixels") == "a.tif has 3 pixels"


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
        ("general – Plate 3", "Plate 3", ("general – Plate 3",), "general – Plate 3 2"),
        ("general – a 2", "b", (), "general – a 2 – b"),
    ],
)  # fmt: skip
def test_proposed_names_are_free(parent, project, taken, proposed):
    assert words.proposed_name(parent, project, taken) == proposed
    assert words.name_problem(proposed, taken) is None


def test_long_names_are_cut():
    name = words.proposed_name("general", "x" * 200, ())
    assert words.name_problem(name, ()) is None


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a/b", "a\tb", "con", "Lpt1.a", ".hidden", "end.", "x" * 81, "General"],
)
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


def test_sentences_are_seen_to_begin():
    assert words.bullets([]) == ""
    assert words.bullets(["One."]) == "One."
    assert words.bullets(["One.", "Two."]) == "•\xa0One.\n•\xa0Two."


def test_before_and_after_in_words():
    example = SimpleNamespace(image="a.tif", counted=21.0, before=13.7, after=20.2)
    counts = "you\xa021, before\xa014\xa0→\xa0after\xa020"
    assert words.example_caption(example) == f"a.tif, whole region:\n{counts}"
    alone = words.example_caption(example, from_nothing=True)
    assert alone == "a.tif, whole region:\nyou\xa021, it\xa020"
    example.image = f"{'x' * 60}_w1.tif"  # which no line can be broken in
    first, _ = words.example_caption(example).splitlines()
    assert "…" in first
    assert first.endswith("_w1.tif, whole region:")
    assert len(first) <= words.IMAGE_LENGTH + len(", whole region:")


def test_after_keep_it_says_what_is_next():
    assert "press Count there" in words.kept_words("mine", used=True)
    assert "Recount all" in words.kept_words("mine", used=True)
    assert "Tally goes on with" in words.kept_words("mine", used=False)


def test_every_step_is_traced():
    trace = Trace()
    for i in range(8):
        trace.put(Progress(i, 10, "learning", {"loss": 8.0 - i}), now=float(i))
    trace.put(Progress(8, 10, "learning", {"val_loss": 1.0, "parent_loss": 2.0}), now=8.0)
    curves = trace.curves()
    assert curves.steps == 10
    assert curves.loss[-1] == (8.0, 1.0)
    assert curves.validation == ((8.0, 1.0),)
    assert curves.parent == 2.0
    # Two steps at one second, and what comes behind them, at the pace of the first ten.
    began, ended = ROUND["learning"]
    behind = 10 * (1 - ended) / (ended - began)
    assert trace.seconds_left(8.0) == pytest.approx(2.0 + behind)


def test_time_left_is_not_guessed_at():
    trace = Trace(FROM_NOTHING)
    assert trace.seconds_left(0.0) is None
    trace.put(Progress(0, 0, "reading"), now=0.0)
    trace.put(Progress(1, 100, "learning"), now=9.0)
    trace.put(Progress(2, 100, "learning"), now=9.5)
    assert trace.seconds_left(9.5) is None
    trace.put(Progress(3, 100, "learning"), now=19.0)
    began, ended = FROM_NOTHING["learning"]
    behind = 500.0 * (1 - ended) / (ended - began)
    assert trace.seconds_left(19.0) == pytest.approx(5.0 * 97 + behind)
    trace.put(Progress(1, 4, "comparing"), now=20.0)
    assert trace.seconds_left(20.0) == pytest.approx(5.0 * 97 + behind - 1.0)  # it goes on down
    assert trace.seconds_left(1e6) == 0.0


def test_the_bar_runs_once_over_the_whole():
    trace, shares, left = Trace(), [], []
    now = 0.0
    for message in ("reading", *list(ROUND)[1:], "something nobody foresaw"):
        for done in range(5):
            now += 1.0
            trace.put(Progress(done, 4, message), now=now)
            shares.append(trace.share())
            left.append(trace.seconds_left(now))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert left[0] is None
    assert said_of("finding the prototypes' pictures") == "choosing pictures"
    assert said_of("learning") == "learning"


def test_more_steps_than_were_said_do_not_take_the_bar_back():
    trace = Trace()
    trace.put(Progress(10, 20, "learning"), now=0.0)
    half = trace.share()
    trace.put(Progress(11, 120, "learning"), now=1.0)
    assert trace.share() == half


def test_long_curves_are_thinned():
    points = [(float(i), float(i)) for i in range(1000)]
    thin = thinned([*points, (1000.0, float("nan"))])
    assert len(thin) <= MOST_POINTS
    assert thin == sorted(thin)
    assert thinned(points[:5]) == points[:5]


def test_the_family_of_a_model(make_record):
    root = make_record(name="general", sha256="aa")
    child = make_record(name="child", sha256="bb", parent="aa", learned=LEARNED)
    stranger = make_record(name="stranger", sha256="ee")
    trees = lineages([stranger, child, root])
    for of in (root, child):
        tree = family(trees, of)
        assert tree.record == root
        assert [version.record for version in tree.children] == [child]
    assert family(trees, stranger).children == ()
    assert family(trees, None) is None
    assert family((), root) is None


def test_what_a_model_was_trained_from_is_no_version(make_record):
    general = make_record(name="general", sha256="bb", parent="aa")
    special = make_record(name="special", sha256="cc", parent="aa")
    warm = make_record(name="warm", sha256="dd", parent="bb")
    child = make_record(name="child", sha256="ee", parent="bb", learned=LEARNED)
    copy = make_record(name="copy", sha256="ee", training={"calibrated from": "child"})
    trees = lineages([general, special, warm, child, copy])
    for of in (general, child, copy):
        tree = family(trees, of)
        assert tree.record == general
        assert [version.record for version in tree.children] == [child]
        assert [version.record for version in tree.children[0].children] == [copy]
    assert family(trees, special).children == ()


def test_a_parent_that_is_gone_is_shown(make_record):
    child = make_record(name="child", sha256="bb", parent="aa" * 32, learned=LEARNED)
    tree = family(lineages([child]), child)
    assert tree.record is None
    assert version_lines(tree, in_use=False)[0] == "aaaaaaaa (gone)"
    assert "not among" in version_details(tree)
    assert version_error(tree) == ""


def test_what_a_version_says(make_record):
    (child,) = lineages([make_record(name="child", sha256="bb", learned=LEARNED)])
    assert version_lines(child, in_use=True) == (
        "child",
        "in use",
        "2026-02-03, by Ada",
        "5 regions, 1 stated, 120 dots",
    )
    assert version_error(child) == "5.2 → 1.9"
    details = version_details(child)
    assert "14 dots corrected" in details
    assert "It seems to have helped: off by 5.2 → 1.9 cells a region" in details
    (plain,) = lineages([make_record(created="2026-01-02")])
    assert version_lines(plain, in_use=False) == ("fake", "3 images of 1 data set")
    assert version_error(plain) == ""


def test_a_version_that_nothing_judged(make_record):
    learned = replace(LEARNED, metrics={}, helped=None)
    (child,) = lineages([make_record(name="child", sha256="bb", learned=learned)])
    assert version_error(child) == "–"
    assert "Nothing tells" in version_details(child)


def test_a_model_from_nothing_has_an_error_after_alone(make_record):
    learned = replace(LEARNED, metrics={"mae_after": 2.34}, helped=None)
    (one,) = lineages([make_record(name="new", sha256="bb", learned=learned)])
    assert version_error(one) == "2.3"
    assert "It is off by 2.3 cells a region" in version_details(one)

from types import SimpleNamespace

import pytest

from celltally.learn.outcome import Compared, RegionCounts
from celltally.learn.regions.told import errors_of_judges
from celltally.learn.regions.verdict import accuracy_in_words, helped, verdict
from celltally.record import Learned


def plan_of(teachers=2, taught=3, kindly=(), groups=None, cells=50):
    images = [
        SimpleNamespace(sample=SimpleNamespace(group=str(i if groups is None else i % groups)))
        for i in range(teachers)
    ]
    return SimpleNamespace(
        teachers=images, taught=["r"] * taught, kindly=frozenset(kindly), cells=cells
    )


PLAN = plan_of()


def judge(kind, *counts, groups=None):
    rows = [
        RegionCounts(f"{i}.png", str(i if groups is None else i % groups), str(i), *c)
        for i, c in enumerate(counts)
    ]
    return Compared(kind, tuple(rows))


def told(*judges, plan=PLAN):
    """The verdict on what was learned, as a round asks for it."""
    learned = Learned(
        project="", by=(), date="", images=1, regions=1, stated=0, excluded=0, dots=1,
        corrected=0, kept_back=0, audits=sum(len(j.regions) for j in judges if j.judge == "audit"),
        helped=helped(judges), metrics=errors_of_judges(judges, plan),
    )  # fmt: skip
    return verdict(learned, judges, plan)


BETTER = judge("kept back", (10, 4, 9), (20, 10, 22))
WORSE = judge("audit", (10, 9, 4))
#: Six images, all counted better, by different amounts.
SURELY_BETTER = [(10, 4 - i, 9) for i in range(6)]


def test_errors_are_those_of_regions():
    assert (BETTER.images, BETTER.mae_before, BETTER.mae_after) == (2, 8.0, 1.5)


def test_one_region_is_not_all_of_them():
    plan = plan_of(1, 1)
    for said in (told(plan=plan), accuracy_in_words([], plan)):
        assert said[0].endswith("the only region was learned from.")


@pytest.mark.parametrize("judges", [(), (BETTER,), (WORSE,)])
def test_few_cells_say_little_of_the_level(judges):
    for cells, words in ((49, "Only 49 cells taught it"), (1, "Only 1 cell taught it")):
        plan = plan_of(cells=cells)
        for said in (told(*judges, plan=plan), accuracy_in_words(judges, plan)):
            assert sum(sentence.startswith(words) for sentence in said) == 1
    for said in (told(*judges), accuracy_in_words(judges, PLAN)):
        assert not any("taught it, which" in sentence for sentence in said)


def test_two_images_are_no_evidence_that_it_helped():
    said = told(BETTER)
    assert said[:2] == (
        "It seems to have helped.",
        "On 2 regions kept back (2 images) the error went from 8.0 to 1.5 cells a region.",
    )
    assert said[2].startswith("2 independent images are few to judge by")
    assert len(said) == 3


def test_it_does_not_seem_to_have_helped_and_what_would():
    said = told(WORSE)
    assert said[0] == "It does not seem to have helped."
    assert said[1].startswith("On 1 audit region (1 image) the error went from 1.0 to 6.0")
    assert said[2].startswith("1 independent image is few to judge by")
    assert "More regions would help" in said[-1]
    assert "cell diameter" in said[-1]


@pytest.mark.parametrize("kind", ["kept back", "audit"])
def test_six_images_that_agree_are_evidence(kind):
    said = told(judge(kind, *SURELY_BETTER))
    assert said[0] == "It helped."
    assert len(said) == 2
    turned = [(counted, after, before) for counted, before, after in SURELY_BETTER]
    said = told(judge(kind, *turned))
    assert said[0] == "It did not help."
    assert len(said) == 3


def test_five_images_that_agree_are_none():
    assert judge("audit", *SURELY_BETTER[:5]).p() is None
    said = told(judge("audit", *SURELY_BETTER[:5]))
    assert said[0] == "It seems to have helped."
    assert said[2].startswith("5 independent images are few")


def test_many_regions_of_few_images_are_none():
    one = judge("audit", *[(10, 4, 9)] * 40, groups=2)
    assert one.p() is None
    assert told(one)[0] == "It seems to have helped."


def test_many_images_that_do_not_agree_are_none():
    """Five better by 2 to 6 cells, three worse by 1 to 3: chance does that once in six times."""
    better = [(20, 10 - i, 12) for i in range(5)]
    worse = [(20, 19, 18 - i) for i in range(3)]
    one = judge("audit", *better, *worse)
    assert 0.05 < one.p() < 0.5
    said = told(one)
    assert said[0] == "It seems to have helped."
    assert said[2] == "Chance alone may have done that: audit random regions of others to be told."


@pytest.mark.parametrize("kind", ["kept back", "audit"])
def test_images_that_judge_kindly_are_no_evidence(kind):
    one = judge(kind, *[(10, 4 - i / 4, 9) for i in range(9)])
    assert told(one)[0] == "It helped."
    said = told(one, plan=plan_of(kindly="0123"))
    assert said[0] == "It seems to have helped."
    assert said[2].startswith("Some of these images taught it or chose when to stop, and judge")
    ten = judge(kind, *[(10, 4 - i / 4, 9) for i in range(10)])
    assert told(ten, plan=plan_of(kindly="0123"))[0] == "It helped."


def test_images_of_one_name_are_several():
    rows = [RegionCounts("a.png", group, "", 10, 4, 9) for group in ("one/a", "two/a", "two/a")]
    assert Compared("audit", tuple(rows)).images == 2


def test_regions_that_did_not_change_say_nothing():
    unchanged = [(10, 8, 8.04)] * 30
    assert judge("audit", *unchanged, *SURELY_BETTER[:3]).p() is None
    assert helped([judge("audit", *[(10, 7, 7)] * 9)]) is False
    said = told(judge("audit", *[(10, 7, 7)] * 9))
    assert said[0] == "It does not seem to have helped."
    assert said[2].startswith("Too few of these images are counted otherwise than before")


def test_a_mean_that_most_regions_contradict():
    one = judge("audit", (90, 20, 80), *[(10, 9, 8 - i) for i in range(5)])
    assert one.is_better
    said = told(one)
    assert said[0] == "It seems to have helped."
    assert said[2].startswith("Yet 5 of 6 regions are counted worse than before")
    other = judge("audit", (90, 80, 20), *[(10, 8 - i, 9) for i in range(5)])
    said = told(other)
    assert said[0] == "It does not seem to have helped."
    assert said[2].startswith("Yet 5 of 6 regions are counted better than before")
    assert not any("Yet" in sentence for sentence in told(judge("audit", *SURELY_BETTER)))


def test_p_is_that_of_the_images_in_the_direction_of_the_mean():
    assert judge("audit", *SURELY_BETTER).p() == pytest.approx(2 / 2**6)
    # Two regions of each image, of which one alone would tell the other way.
    halves = [(10, 4 - i, 9) for i in range(8)] + [(10, 9, 8.5)] * 8
    assert judge("audit", *halves, groups=8).p() == pytest.approx(2 / 2**8)


def test_audits_decide():
    assert helped([BETTER]) is True
    assert helped([WORSE]) is False
    assert helped([BETTER, WORSE]) is False
    assert helped([]) is None
    said = told(judge("kept back", *SURELY_BETTER), WORSE)
    assert said[0] == "It does not seem to have helped."
    assert "The audit regions decide, for they were drawn at random." in said
    assert any(sentence.startswith("1 independent image is few") for sentence in said)


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (lambda judges, plan: told(plan=plan), "Nothing tells how well it counts"),
        (accuracy_in_words, "Nothing tells how well"),
    ],
)
def test_nothing_judges(words, start):
    said = words([], PLAN)
    assert said[0].startswith(f"{start}")
    assert "all 3 regions, of 2 images, were learned from" in said[0]
    assert "audit some" in said[1]


def test_many_images_that_have_all_taught_before():
    assert told(plan=plan_of(3))[1] == "Review regions in other images, or audit some, to be told."


@pytest.mark.parametrize(("groups", "where"), [(None, "at least 3"), (1, "at least 3 independent")])
def test_more_images_of_one_well_tell_nothing(groups, where):
    plan = plan_of(2, groups=groups)
    for said in (told(plan=plan), accuracy_in_words([], plan)):
        assert said[1] == f"Review regions in {where} images, or audit some, to be told."


def test_how_well_a_new_model_counts():
    said = accuracy_in_words([BETTER], PLAN)
    assert said[0] == (
        "On 2 kept-back regions it is off by 1.5 cells a region, of 15.0 on average."
    )
    assert said[1].startswith("2 independent images are few to judge by")
    said = accuracy_in_words([judge("audit", *SURELY_BETTER)], PLAN)
    assert not any("few" in sentence for sentence in said)

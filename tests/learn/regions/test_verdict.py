from types import SimpleNamespace

import pytest

from celltally.learn.outcome import Compared, RegionCounts
from celltally.learn.regions.verdict import accuracy_in_words, helped, verdict

PLAN = SimpleNamespace(teachers=["a", "b"], taught=["r", "s", "t"])


def judge(kind, *counts):
    rows = [RegionCounts(f"{i}.png", str(i), str(i), *c) for i, c in enumerate(counts)]
    return Compared(kind, tuple(rows))


BETTER = judge("kept back", (10, 4, 9), (20, 10, 22))
WORSE = judge("audit", (10, 9, 4))


def test_errors_are_those_of_regions():
    assert (BETTER.images, BETTER.mae_before, BETTER.mae_after) == (2, 8.0, 1.5)


def test_one_region_is_not_all_of_them():
    plan = SimpleNamespace(teachers=["a"], taught=["r"])
    for told in (verdict([], plan), accuracy_in_words([], plan)):
        assert told[0].endswith("the only region was learned from.")


def test_it_helped():
    told = verdict([BETTER], PLAN)
    assert told[:2] == (
        "It helped.",
        "On 2 regions kept back (2 images) the error went from 8.0 to 1.5 cells a region.",
    )
    assert told[2].startswith("2 regions are few to judge by")
    assert len(told) == 3


def test_it_did_not_help_and_what_would():
    told = verdict([WORSE], PLAN)
    assert told[0] == "It did not help."
    assert told[1].startswith("On 1 audit region (1 image) the error went from 1.0 to 6.0")
    assert told[2].startswith("1 region is few to judge by")
    assert "More regions would help" in told[-1]
    assert "cell diameter" in told[-1]


def test_many_judges_are_not_called_few():
    told = verdict([judge("audit", *[(10, 4, 9)] * 5)], PLAN)
    assert not any("few" in sentence for sentence in told)


def test_audits_decide():
    assert helped([BETTER]) is True
    assert helped([WORSE]) is False
    assert helped([BETTER, WORSE]) is False
    assert helped([]) is None
    assert helped([judge("audit", (10, 7, 7))]) is False


@pytest.mark.parametrize(
    ("words", "start"),
    [(verdict, "Nothing tells whether it helped"), (accuracy_in_words, "Nothing tells how well")],
)
def test_nothing_judges(words, start):
    told = words([], PLAN)
    assert told[0].startswith(f"{start}")
    assert "all 3 regions, of 2 images, were learned from" in told[0]
    assert "audit some" in told[1]


def test_many_images_that_have_all_taught_before():
    plan = SimpleNamespace(teachers=["a", "b", "c"], taught=["r", "s", "t"])
    assert verdict([], plan)[1] == "Review regions in other images, or audit some, to be told."


def test_how_well_a_new_model_counts():
    told = accuracy_in_words([BETTER], PLAN)
    assert told[0] == (
        "On 2 kept-back regions it is off by 1.5 cells a region, of 15.0 on average."
    )

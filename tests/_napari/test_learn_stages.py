"""The bar of a learning: every stage has its share, and they follow each other."""

from __future__ import annotations

import pytest

from celltally._napari.learn_stages import FROM_NOTHING, ROUND
from celltally.learn.finetune import iter_finetune
from celltally.learn.new_model import iter_new_model
from celltally.learn.regions.loop import RegionFit

QUICK = {"steps": 2, "device": "cpu"}


@pytest.mark.parametrize("stages", [ROUND, FROM_NOTHING])
def test_the_shares_follow_each_other(stages):
    ends = [0.0, *(end for _, end in stages.values())]
    assert [begin for begin, _ in stages.values()] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] == 1.0


def test_all_that_a_round_says_has_a_share(tiny_model, dataset_folder):
    job = iter_finetune(
        tiny_model, [dataset_folder()], name="child", fit=RegionFit(pixels=20_000), **QUICK
    )
    said = {step.message for step in job}
    assert {"reading", "learning", "comparing"} <= said <= set(ROUND)


def test_all_that_a_model_from_nothing_says_has_a_share(tiny_model, dataset_folder):
    job = iter_new_model([dataset_folder()], name="new", start=tiny_model, **QUICK)
    said = {step.message for step in job}
    assert {"reading", "learning", "comparing"} <= said <= set(FROM_NOTHING)

from __future__ import annotations

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.intervals.audit import audited_total


def study(rng: np.random.Generator, n: int = 300):
    """A model that misses a tenth of the cells and is off by a few."""
    truth = rng.gamma(4, 30, n).round()
    return truth, np.maximum(0.9 * truth + rng.normal(0, 4, n), 0)


def drawn(rng: np.random.Generator, truth, m: int):
    counted = np.full(len(truth), np.nan)
    chosen = rng.choice(len(truth), m, replace=False)
    counted[chosen] = truth[chosen]
    return counted


def test_the_total_is_unbiased_and_covered_though_the_model_is_not() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = study(rng)
    assert predicted.sum() < 0.92 * truth.sum()
    found = [audited_total(predicted, drawn(rng, truth, 20)) for _ in range(400)]
    assert np.mean([t.total for t in found]) == pytest.approx(truth.sum(), rel=0.003)
    inside = np.mean([t.low <= truth.sum() <= t.high for t in found])
    assert 0.92 < inside < 0.98
    by_hand = np.std([len(truth) * np.nanmean(drawn(rng, truth, 20)) for _ in range(400)])
    assert np.mean([t.high - t.low for t in found]) < by_hand


def test_groups_are_what_was_drawn() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = study(rng, 200)
    wells = np.repeat(np.arange(40), 5)
    predicted = predicted * np.repeat(rng.uniform(0.7, 1.1, 40), 5)  # wells stain unlike
    hits = []
    for _ in range(300):
        there = np.isin(wells, rng.choice(40, 12, replace=False))
        counted = np.where(there, truth, np.nan)
        found = audited_total(predicted, counted, groups=[str(w) for w in wells])
        hits.append(found.low <= truth.sum() <= found.high)
    assert (found.units, found.audited, found.reason) == (40, 12, "")
    assert 0.91 < np.mean(hits) < 0.99
    alike = audited_total(predicted, counted)
    assert alike.high - alike.low < found.high - found.low  # as if images had been drawn


def test_all_audited_leaves_no_doubt() -> None:
    total = audited_total([5.0, 7.0, 1.0], [4.0, 9.0, 1.0])
    assert (total.total, total.low, total.high) == (14, 14, 14)
    assert total.predicted == 13
    assert total.reason == ""


def test_it_is_never_below_what_was_counted() -> None:
    total = audited_total([10.0] * 4, [30.0, 3.0, np.nan, np.nan])
    assert total.low == 33
    assert total.reason == "from 2 audited images only"


@pytest.mark.parametrize(
    ("counted", "groups", "words"),
    [
        ([3.0, np.nan, np.nan], None, "1 audited image tell"),
        ([np.nan] * 3, ["a", "b", "c"], "0 audited groups"),
        ([3.0, np.nan, 4.0], ["a", "a", "b"], "1 of the 2 images of the group 'a'"),
        ([3.0, -1.0, 4.0], None, "0 or more"),
    ],
)
def test_audits_that_say_nothing(counted, groups, words) -> None:
    with pytest.raises(UserError, match=words):
        audited_total([3.0, 4.0, 5.0], counted, groups=groups)


def test_wrong_columns_and_levels() -> None:
    with pytest.raises(ValueError, match="do not belong"):
        audited_total([3.0], [3.0, 4.0])
    with pytest.raises(UserError, match="level"):
        audited_total([3.0, 4.0], [3.0, 4.0], level=2)
    with pytest.raises(UserError, match="predicted count"):
        audited_total([np.nan, 4.0], [3.0, 4.0])

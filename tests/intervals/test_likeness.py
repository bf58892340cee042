from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from celltally.intervals.likeness import (
    MOST_APPEARANCES,
    UNLIKE,
    known_appearances,
    likeness_score,
    strangest,
)
from celltally.types import Appearances

LEAST = {"size": 0.1, "level": 0.1, "strength": 0.1}


def images(rng: np.random.Generator, n: int, shift: float = 0.0) -> list[dict[str, float]]:
    """Images whose three figures go together, as real ones' do."""
    points = rng.normal(size=(n, 2)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.3, 1.0]])
    points += rng.normal(0, 0.05, (n, 3))
    points[:, 2] += shift
    return [dict(zip(LEAST, point, strict=True)) for point in points.tolist()]


def known(rng: np.random.Generator, n: int = 60) -> Appearances:
    found = known_appearances(images(rng, n), [str(i) for i in range(n)], LEAST)
    assert found is not None
    return found


def scores(what: Appearances, those: list[dict[str, float]]) -> NDArray[np.float64]:
    return np.array([likeness_score(what, one) for one in those])


@pytest.mark.parametrize("share", [UNLIKE, 0.05, 0.2])
def test_no_more_images_of_a_kind_score_low_than_the_score_says(share: float) -> None:
    rng = np.random.default_rng(5)
    found = np.mean([(scores(known(rng), images(rng, 50)) <= share).mean() for _ in range(20)])
    # 20 sets of known images: the mean's own standard error is about 0.01.
    assert found < share + 0.03


def test_others_score_lower_the_stranger_they_are() -> None:
    rng = np.random.default_rng(0)
    here = known(rng)
    means = [scores(here, images(rng, 40, shift)).mean() for shift in (0, 4, 8, 16, 32)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.3
    assert means[2] < UNLIKE
    far = scores(here, images(rng, 40, 1000.0))
    assert (far > 0).all()
    assert len(set(far.tolist())) == 40  # and can still be told from each other


def test_what_breaks_a_rule_of_the_known_images_is_strange() -> None:
    rng = np.random.default_rng(1)
    here = known(rng, 200)
    # Each figure is an ordinary one; all three together are not.
    assert likeness_score(here, {"size": 1.0, "level": -1.0, "strength": 0.0}) < UNLIKE
    assert likeness_score(here, {"size": 1.0, "level": 0.8, "strength": 0.0}) > 0.1


def test_images_of_a_group_speak_for_one() -> None:
    rng = np.random.default_rng(2)
    slides = [
        {name: value + noise for name, value in slide.items()}
        for slide in images(rng, 4)
        for noise in rng.normal(0, 0.01, 20)
    ]
    groups = [str(i // 20) for i in range(80)]
    by_slide = known_appearances(slides, groups, LEAST)
    by_image = known_appearances(slides, [str(i) for i in range(80)], LEAST)
    assert by_slide is not None
    assert by_image is not None
    new = images(rng, 30)
    # A fifth slide is as unlike the four as these are each other; their images hide that.
    assert np.median(scores(by_slide, new)) > 5 * np.median(scores(by_image, new))
    assert min(scores(by_slide, new)) > 1e-4


@pytest.mark.parametrize("n", [8, 12, 19])
def test_few_images_are_no_reason_to_call_others_unlike(n: int) -> None:
    """With more figures than images, every new one differs in a direction of its own."""
    least = {f"figure {i}": 0.1 for i in range(26)}
    found, strange = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mixed = rng.normal(size=(8, 26)) * np.geomspace(1, 0.1, 8)[:, None]

        def some(
            rng: np.random.Generator, n: int, mixed: NDArray[np.float64] = mixed
        ) -> list[dict[str, float]]:
            points = rng.normal(size=(n, 8)) @ mixed + rng.normal(0, 0.1, (n, 26))
            return [dict(zip(least, point, strict=True)) for point in points.tolist()]

        few = known_appearances(some(rng, n), [str(i) for i in range(n)], least)
        assert few is not None
        found.append((scores(few, some(rng, 40)) < UNLIKE).mean())
        others = [{name: x + 12 for name, x in one.items()} for one in some(rng, 40)]
        strange.append((scores(few, others) < UNLIKE).mean())
    assert np.mean(found) < 0.15
    assert np.mean(strange) > 0.9


def test_one_image_or_one_slide_can_be_compared_with() -> None:
    rng = np.random.default_rng(3)
    for n in (1, 2):
        few = known(rng, n)
        assert (scores(few, images(rng, 20)) > 0).all()
        near = {name: few.points[0][i] + 0.01 for i, name in enumerate(LEAST)}
        assert likeness_score(few, near) > UNLIKE
    one_slide = known_appearances(images(rng, 10), ["a"] * 10, LEAST)
    assert one_slide is not None
    assert np.median(scores(one_slide, images(rng, 20))) > UNLIKE


def test_differences_that_are_none_do_not_count() -> None:
    same = [{"size": 1.0, "level": 2.0, "strength": 3.0}] * 30
    here = known_appearances(
        [one | {"size": 1 + 0.05 * (i % 3)} for i, one in enumerate(same)],
        [str(i) for i in range(30)],
        LEAST,
    )
    assert here is not None
    assert len(here.points) == 30
    assert likeness_score(here, same[0] | {"level": 2.004}) > UNLIKE
    assert likeness_score(here, same[0] | {"level": 4.0}) < UNLIKE


def test_it_is_said_in_what_an_image_is_strange() -> None:
    rng = np.random.default_rng(4)
    here = known(rng)
    for name in LEAST:
        assert strangest(here, dict.fromkeys(LEAST, 0.0) | {name: 30.0}) == name


def test_what_shows_nothing_cannot_be_compared() -> None:
    rng = np.random.default_rng(6)
    assert known_appearances([{}, {}], ["a", "b"], LEAST) is None
    assert math.isnan(likeness_score(known(rng), {}))
    here = known_appearances([{}, *images(rng, 2)], ["a", "b", "c"], LEAST)
    assert here is not None
    assert here.groups == ("b", "c")


def test_known_images_are_added_to() -> None:
    rng = np.random.default_rng(7)
    old, new = images(rng, 30), images(rng, 30, 20.0)
    first = known_appearances(old, [str(i) for i in range(30)], LEAST)
    assert first is not None
    assert scores(first, new).max() < UNLIKE
    both = known_appearances(new, [f"new {i}" for i in range(30)], LEAST, first)
    assert both is not None
    assert np.median(scores(both, images(rng, 20, 20.0))) > UNLIKE
    assert known_appearances(old, [str(i) for i in range(30)], LEAST, first) == first
    with pytest.raises(ValueError, match="other figures"):
        known_appearances([{"size": 1.0}], ["a"], {"size": 0.1}, first)


def test_a_calibration_remains_a_small_file() -> None:
    rng = np.random.default_rng(8)
    n = MOST_APPEARANCES + 100
    found = known_appearances(images(rng, n), [str(i) for i in range(n)], LEAST)
    assert found is not None
    assert len(found.points) == MOST_APPEARANCES
    assert len({x for point in found.points for x in point}) > MOST_APPEARANCES

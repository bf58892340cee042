import math

import pytest
import torch

from celltally.learn.validate import Scores, overall_error, validate

CPU = torch.device("cpu")


@pytest.fixture
def constant(tiny_model):
    """A network whose density is the same everywhere."""

    def make(value):
        network = tiny_model.network
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.fill_(value / network.config.gain)
        return network

    return make


def test_errors_by_data_set(constant, prepared_images):
    images = prepared_images("a", [4, 8], shape=(40, 50)) + prepared_images(
        "b", [2], shape=(20, 30)
    )
    cells = {"a": 20 * 25, "b": 10 * 15}
    scores = validate(constant(0.01), images, CPU)
    assert list(scores) == ["a", "b"]
    assert (scores["a"].n, scores["b"].n) == (2, 1)
    expected = [cells["a"] * 0.01 - i.count for i in images[:2]]
    assert scores["a"].bias == pytest.approx(sum(expected) / 2, abs=1e-3)
    assert scores["a"].mae == pytest.approx(sum(map(abs, expected)) / 2, abs=1e-3)
    assert scores["a"].mean_count == pytest.approx(sum(i.count for i in images[:2]) / 2)
    assert scores["b"].bias == pytest.approx(cells["b"] * 0.01 - images[2].count, abs=1e-3)


def test_counts_below_zero_are_zero(constant, prepared_images):
    (image,) = prepared_images(counts=[3])
    (scores,) = validate(constant(-1.0), [image], CPU).values()
    assert scores.bias == -image.count


def test_sets_weigh_alike_whatever_their_counts():
    scores = {"many": Scores(50, 10.0, 0.0, 100.0), "few": Scores(2, 2.0, 0.0, 10.0)}
    assert overall_error(scores) == pytest.approx(0.15)
    assert overall_error({"none": Scores(1, 3.0, 3.0, 0.0)}) == 3.0


def test_the_network_is_left_in_evaluation_mode(tiny_model, prepared_images):
    tiny_model.network.train()
    scores = validate(tiny_model.network, prepared_images(counts=[3]), CPU)
    assert not tiny_model.network.training
    assert all(math.isfinite(s.mae) for s in scores.values())
    assert validate(tiny_model.network, [], CPU) == {}

import copy

import pytest
import torch

from celltally.learn.projected import Head, Projected, count_errors, told
from celltally.learn.push import iter_project
from celltally.learn.refit import iter_refit
from celltally.learn.validate import validate
from celltally.networks import build
from celltally.progress import drain

CPU = torch.device("cpu")
WHERE = {"nominal_px": 12.0, "device": CPU}


@pytest.fixture(params=["tally", "countxplain"])
def network(request, tiny_config):
    torch.manual_seed(0)
    config = tiny_config if request.param == "tally" else {"width": 1 / 16, "depth": 4}
    return build(request.param, config).eval()


def test_a_head_is_put_back(network):
    before = copy.deepcopy(network.state_dict())
    head = Head.of(network)
    network.set_prototypes(torch.zeros_like(head.prototypes))
    network.set_contribution_weights(torch.ones_like(head.weight), torch.ones_like(head.bias))
    head.put_into(network)
    assert all(torch.allclose(before[k], v) for k, v in network.state_dict().items())


def test_the_errors_are_those_that_the_network_had_on_its_way(network, prepared_images):
    images = prepared_images(counts=[4, 8, 6])
    expected = [validate(network, images, CPU)["blobs"].mae]
    learned = Head.of(network)
    projection = drain(iter_project(network, images, **WHERE))
    projected = Projected(learned, Head.of(network), projection.astray)
    expected.append(validate(network, images, CPU)["blobs"].mae)
    drain(iter_refit(network, images, **WHERE))
    after = validate(network, images, CPU)
    weights = copy.deepcopy(network.state_dict())
    (row,) = count_errors(network, projected, images, CPU).values()
    assert [row["mae_before_projection"], row["mae_projected"]] == pytest.approx(expected)
    assert after["blobs"].mae < row["mae_projected"]
    assert all(torch.equal(weights[k], v) for k, v in network.state_dict().items())
    text = told(after, {"blobs": row})
    figures = [*expected, after["blobs"].mae]
    assert text == (
        "count error on validation images {:.3g} cells before it, {:.3g} after it, "
        "{:.3g} with the last layer refitted".format(*figures)
    )


def test_figures_of_the_prototypes_are_those_before(network, prepared_images):
    images = prepared_images(counts=[4, 8])
    network.set_prototypes(torch.ones_like(network.prototypes))
    learned = Head.of(network)
    projection = drain(iter_project(network, images, **WHERE))
    projected = Projected(learned, Head.of(network), projection.astray)
    figures = projected.figures(network, 0.2)
    assert figures == {
        "excess cosine before projection": 0.8,
        "distinct prototypes before projection": 2,
        "prototypes astray before projection": sum(projection.astray),
    }
    assert not torch.equal(network.prototypes, learned.prototypes)

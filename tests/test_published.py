"""The table of published architectures is in step with the networks."""

from dataclasses import asdict

import pytest
import torch

from celltally.networks import build, registry
from celltally.published import PUBLISHED


def test_every_family_but_ours_is_in_the_table():
    papers = {"csrnet", "countxplain", "decoupled", "fpn_counter", "patch_regression"}
    assert set(PUBLISHED) == papers <= set(registry.FAMILY_MODULES)


@pytest.mark.parametrize("network", PUBLISHED)
def test_settings_and_size_are_those_of_the_network(network):
    with torch.device("meta"):  # no memory is needed for the weights
        net = build(network)
    architecture = PUBLISHED[network]
    assert architecture.settings == asdict(net.config)
    assert architecture.parameters == sum(p.numel() for p in net.parameters())
    assert architecture.changes(registry.config_of(net)) == []


@pytest.mark.parametrize("architecture", PUBLISHED.values(), ids=list(PUBLISHED))
def test_the_words_fit_where_they_are_shown(architecture):
    year = architecture.reference[-4:]
    assert year.isdigit()
    assert year in architecture.paper
    assert architecture.name == f"{architecture.title} ({architecture.reference})"
    assert architecture.use.endswith(".")
    assert len(architecture.use) < 140
    assert "|" not in architecture.use + architecture.paper  # they stand in tables


def test_what_was_changed_is_told_in_words():
    csrnet, fpn = PUBLISHED["csrnet"], PUBLISHED["fpn_counter"]
    assert csrnet.changes({}) == []
    assert csrnet.changes({"width": 0.25, "density_weight": 10.0}) == [
        "a quarter of the channels",
        "density_weight 10.0 instead of 100.0",
    ]
    assert csrnet.changes({"width": 0.3}) == ["0.3 × the channels"]
    assert csrnet.changes({"width": "wide"}) == ["width wide instead of 1.0"]
    assert PUBLISHED["patch_regression"].changes({"backbone": "resnet10"}) == [
        "backbone resnet10 instead of resnet152"
    ]
    assert PUBLISHED["decoupled"].changes({"message_passing": False, "batch_norm": True}) == [
        "without message_passing",
        "with batch_norm",
    ]
    for same in ([1024, 512], (1024, 512)):
        assert fpn.changes({"hidden": same}) == []
    for other in ([64], (64,)):
        assert fpn.changes({"hidden": other}) == ["hidden [64] instead of [1024, 512]"]

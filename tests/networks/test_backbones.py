import subprocess
import sys
from urllib.error import URLError

import pytest
import torch
from torch import nn

from celltally.errors import UserError
from celltally.networks.backbones import ImageNetColours, imagenet_weights

FETCH = "torchvision.models._api.load_state_dict_from_url"


def test_colours_are_normalised_as_imagenets_are():
    colours = ImageNetColours()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (mean + torch.tensor([0.0, 1.0, -2.0]) * deviation)[:, None, None].expand(2, 3, 4, 5)
    found = colours(images)
    assert found.shape == images.shape
    for channel, expected in enumerate((0.0, 1.0, -2.0)):
        assert torch.allclose(found[:, channel], torch.full((2, 4, 5), expected), atol=1e-6)


def test_colours_add_nothing_to_what_is_stored():
    network = nn.Sequential(ImageNetColours(), nn.Conv2d(3, 1, 1))
    assert {*network.state_dict()} == {"1.weight", "1.bias"}
    assert not [*ImageNetColours().parameters()]


def test_weights_are_named_without_their_start(monkeypatch):
    asked = []

    def fetch(url, **options):
        asked.append((url.rpartition("/")[2].partition("-")[0], options))
        return {"features.0.weight": torch.ones(1), "classifier.0.weight": torch.zeros(1)}

    monkeypatch.setattr(FETCH, fetch)
    assert {*imagenet_weights("vgg19", "features.")} == {"0.weight"}
    assert {*imagenet_weights("vgg19_bn")} == {"features.0.weight", "classifier.0.weight"}
    # Checked, and without what a pickle could run.
    options = {"progress": False, "check_hash": True, "weights_only": True}
    assert asked == [("vgg19", options), ("vgg19_bn", options)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("no route to host"), "no route to host"),
        (RuntimeError("invalid hash value\nand more"), r"invalid hash value\)"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(monkeypatch, error, reason):
    def fetch(url, **options):
        raise error

    monkeypatch.setattr(FETCH, fetch)
    told = (
        rf"the ImageNet weights of vgg16 cannot be fetched from https://\S+vgg16\S+ \(.*{reason}.*"
        r"; connect to the internet, or train without 'pretrained'$"
    )
    with pytest.raises(UserError, match=told) as caught:
        imagenet_weights("vgg16")
    assert "\n" not in str(caught.value)


def test_networks_load_no_torchvision_before_they_need_it():
    code = (
        "import sys\n"
        "from celltally.networks import names\n"
        "names()\n"
        "sys.exit('torchvision' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""ND2, CZI and LIF: through bioio where it is there, a sentence where it is not."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import list_scenes, read_image, select_pixels

HEADS = {
    "czi": b"ZISRAWFILE\0\0\0\0\0\0",
    "nd2": b"\xda\xce\xbe\x0a" + b"\0" * 12,
    "lif": b"\x70\0\0\0" + b"\0" * 12,
}
PIXELS = np.arange(2 * 2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 2, 3, 8, 9)


class FakeBioImage:
    """What is used of bioio, with two scenes."""

    scenes = ("left", "right")
    channel_names = ("GFP", "DAPI")
    physical_pixel_sizes = SimpleNamespace(Z=1.0, Y=0.5, X=0.25)
    dims = SimpleNamespace(order="TCZYX")

    def __init__(self, path, reader):
        if b"damaged" in path.read_bytes():
            raise RuntimeError("no such\nsegment")
        assert reader.__name__ == "Reader"
        self.dask_data = PIXELS

    def set_scene(self, index):
        self.dask_data = PIXELS + 1000 * index


@pytest.fixture
def fake(monkeypatch):
    bioio = ModuleType("bioio")
    bioio.BioImage = FakeBioImage
    monkeypatch.setitem(sys.modules, "bioio", bioio)
    for suffix in HEADS:
        module = ModuleType(f"bioio_{suffix}")
        module.Reader = type("Reader", (), {})
        monkeypatch.setitem(sys.modules, f"bioio_{suffix}", module)


@pytest.mark.parametrize("suffix", HEADS)
def test_missing_reader_names_the_extra(tmp_path, monkeypatch, suffix):
    for name in ("bioio", f"bioio_{suffix}"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(HEADS[suffix])
    for read in (read_image, list_scenes):
        with pytest.raises(UserError, match=r'pip install "celltally\[formats\]"') as error:
            read(path)
        assert str(path) in str(error.value)
        assert suffix.upper() in str(error.value)


@pytest.mark.parametrize("suffix", HEADS)
def test_scenes_axes_and_sizes(tmp_path, fake, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(HEADS[suffix])
    assert list_scenes(path) == ["left", "right"]
    image = read_image(path)
    assert (image.axes, image.scene, image.name) == ("TCZYX", "left", path.name)
    assert image.pixel_size_um == (0.5, 0.25)
    assert image.channel_names == ("GFP", "DAPI")
    assert np.array_equal(select_pixels(image), PIXELS[0, 1, 1])
    right = read_image(path, scene="right")
    assert np.array_equal(select_pixels(right, plane={"t": 1}), PIXELS[1, 1, 1] + 1000)
    with pytest.raises(UserError, match="no scene 2"):
        read_image(path, scene=2)


def test_more_axes_than_five(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(FakeBioImage, "dims", SimpleNamespace(order="BTCZYX"))
    monkeypatch.setattr(
        FakeBioImage, "set_scene", lambda self, i: setattr(self, "dask_data", PIXELS[None])
    )
    path = tmp_path / "a.czi"
    path.write_bytes(HEADS["czi"])
    image = read_image(path)
    assert image.axes == "TCZYX"
    assert np.array_equal(np.asarray(image.data), PIXELS)


def test_damaged(tmp_path, fake):
    path = tmp_path / "a.czi"
    path.write_bytes(HEADS["czi"] + b"damaged")
    with pytest.raises(UserError, match=r"truncated or damaged \(no such segment\)"):
        read_image(path)


def test_header_of_czi_under_another_name(tmp_path, fake):
    path = tmp_path / "a.dat"
    path.write_bytes(HEADS["czi"])
    assert read_image(path).axes == "TCZYX"

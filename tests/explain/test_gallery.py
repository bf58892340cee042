import io
import sys

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from celltally.explain.gallery import (
    PICTURE,
    Patch,
    patch_picture,
    training_patches,
    write_gallery,
)
from celltally.record import PatchRecord, PrototypeRecord


@pytest.mark.parametrize(
    ("channels", "shape"), [(1, (PICTURE, PICTURE)), (3, (PICTURE, PICTURE, 3))]
)
def test_a_patch_is_around_its_place(channels, shape):
    values = torch.zeros(channels, 60, 80)
    values[:, 30:32, 40:42] = 1.0
    picture = patch_picture(values, (15, 20), 2, 12.0)  # 48 px around (31, 41)
    assert (picture.shape, picture.dtype) == (shape, np.uint8)
    bright = np.argwhere(picture.reshape(*shape[:2], -1)[..., 0] == 255)
    assert bright.mean(axis=0) == pytest.approx([PICTURE / 2 - 0.5 - 1] * 2, abs=1)
    assert len(bright) == 16  # four pixels, two times as large


def test_beyond_the_border_it_is_black():
    values = torch.ones(1, 60, 80)
    picture = patch_picture(values, (0, 39), 2, 12.0)
    assert (picture[: PICTURE // 2 - 2] == 0).all()
    assert (picture[:, PICTURE // 2 + 2 :] == 0).all()
    assert (picture[PICTURE // 2 + 2 :, : PICTURE // 2 - 2] == 255).all()


def test_only_pictures_that_are_there_are_shown():
    png = imageio.imwrite("<bytes>", np.full((4, 4), 9, np.uint8), extension=".png")
    patches = [PatchRecord("a", "1.png", 1.0, 2.0, 4.5, name) for name in ("0.png", None, "x.png")]
    (patch,) = training_patches(PrototypeRecord("cell", tuple(patches)), {"0.png": png})
    assert (patch.source, patch.y, patch.x, patch.similarity) == ("a", 1.0, 2.0, 4.5)
    assert (patch.picture == 9).all()


def rows():
    picture = np.zeros((PICTURE, PICTURE), np.uint8)
    own = Patch(picture, "bbbc$039_1", 0.0, 0.0, 4.6)
    return [[own, own], [], [Patch(picture, "", 0.0, 0.0, 1.2)]]


def test_the_gallery_is_a_picture_without_global_state(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    path = tmp_path / "gallery.png"
    kinds = ("cell", "cell", "background")
    assert write_gallery(path, rows(), kinds, "Prototypes of $m_1") == ()
    picture = imageio.imread(path)
    assert min(picture.shape[:2]) > 100
    colours = {tuple(c) for c in picture.reshape(-1, picture.shape[2])[:, :3].tolist()}
    assert (0xB3, 0x26, 0x1E) in colours  # the words and frames of cell prototypes
    assert (0x1F, 0x5F, 0xA8) in colours
    assert ("matplotlib.pyplot" in sys.modules) == before
    assert (
        imageio.immeta(io.BytesIO(path.read_bytes()), extension=".png")["Software"] == "celltally"
    )


def test_without_matplotlib_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (note,) = write_gallery(tmp_path / "gallery.png", rows(), ("cell", "cell", "background"), "")
    assert "matplotlib is missing" in note
    assert list(tmp_path.iterdir()) == []


def test_new_prototypes_are_marked(tmp_path):
    kinds = ("cell", "cell", "background")
    pictures = []
    for new in ((), (1,), (0, 2)):
        assert write_gallery(tmp_path / "gallery.png", rows(), kinds, "", new=new) == ()
        pictures.append((tmp_path / "gallery.png").read_bytes())
    assert len(set(pictures)) == 3

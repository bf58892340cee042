import numpy as np
import pytest

from celltally.tiling import plan_tiles


@pytest.mark.parametrize("shape", [(16, 16), (160, 96), (16, 1600), (256, 272)])
@pytest.mark.parametrize("tile", [1, 16, 50, 100, 4096])
@pytest.mark.parametrize("halo", [0, 16, 48])
def test_cores_cover_the_image_once_and_windows_hold_the_halo(shape, tile, halo):
    covered = np.zeros(shape, dtype=int)
    for piece in plan_tiles(shape, tile, halo, 16):
        y0, x0, y1, x1 = piece.core
        covered[y0:y1, x0:x1] += 1
        assert max(y1 - y0, x1 - x0) <= max(tile, 16)
        assert piece.window == (
            max(0, y0 - halo),
            max(0, x0 - halo),
            min(shape[0], y1 + halo),
            min(shape[1], x1 + halo),
        )
        assert all(edge % 16 == 0 for edge in (*piece.core, *piece.window))
    assert (covered == 1).all()


def test_cores_are_nearly_equal():
    tiles = plan_tiles((16 * 10, 16), 16 * 4, 0, 16)
    assert [t.core[2] - t.core[0] for t in tiles] == [48, 64, 48]


def test_a_large_tile_is_the_image():
    (tile,) = plan_tiles((64, 32), 1000, 16, 16)
    assert tile.core == tile.window == (0, 0, 64, 32)


@pytest.mark.parametrize(
    ("shape", "halo"), [((17, 16), 0), ((16, 0), 0), ((16, 16), 8), ((16, 16), -16)]
)
def test_what_is_no_multiple(shape, halo):
    with pytest.raises(ValueError, match="multiples of 16"):
        plan_tiles(shape, 64, halo, 16)

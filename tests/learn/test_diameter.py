import numpy as np
import pytest

from celltally.learn.diameter import diameter_from_dots


def test_diameter_from_area():
    grey = np.zeros((100, 100), dtype=np.float32)
    y, x = np.mgrid[:100, :100]
    for centre in (20, 50, 80):
        grey[np.hypot(y - centre, x - centre) <= 10] = 1
    assert diameter_from_dots(grey, 3) == pytest.approx(20, abs=1)
    assert diameter_from_dots(grey, 0) is None
    assert diameter_from_dots(np.zeros((5, 5), dtype=np.float32), 3) is None

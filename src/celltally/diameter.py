"""An estimate of the cell diameter from the image alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def estimate_diameter(values: NDArray[np.float32]) -> float | None:
    return None

"""Ways to count a z stack, on drawn cells whose number is known.

    python benchmarks/stacks.py [--model nuclei-fluorescence] [--volumes 4] [--seed 0]

Balls of about one diameter lie anywhere in a volume, but not in one another; a microscope blurs
them, along z above all, and takes planes with noise. Printed is the mean over the volumes, as a
table in Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from celltally import zoo
from celltally.density.stacks import merge_planes
from celltally.model import Model
from celltally.predict import predict
from celltally.progress import drain
from celltally.stack import iter_count_stack

DIAMETER = 16
SIDE = 256
PLANES = 12


@dataclass(frozen=True)
class Volume:
    """How a volume is drawn.

    Attributes
    ----------
    cells
        Number of cells in it.
    step
        Distance of planes in pixels.
    blur
        Sigma of the blur along z in pixels.
    """

    cells: int
    step: int = 4
    blur: float = 2.0

    def draw(self, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Planes ``(12, 256, 256)``."""
        shape = np.array([PLANES * self.step, SIDE, SIDE])
        margin = np.array([0, DIAMETER / 2, DIAMETER / 2])
        centres: list[NDArray[np.float64]] = []
        while len(centres) < self.cells:
            centre = rng.uniform(margin, shape - margin)
            if all(np.linalg.norm(centre - other) >= DIAMETER for other in centres):
                centres.append(centre)
        volume = np.zeros(shape, np.float32)
        for centre in centres:
            radius = DIAMETER / 2 * rng.uniform(0.85, 1.1)
            low = np.maximum(np.floor(centre - radius - 1), 0).astype(int)
            high = np.minimum(np.ceil(centre + radius + 2).astype(int), shape)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"))
            away = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(axis=0))
            ball = np.clip(radius - away + 0.5, 0, 1) * rng.uniform(0.6, 1)
            volume[box] = np.maximum(volume[box], ball)
        light = gaussian_filter(volume, (self.blur, 1, 1))[self.step // 2 :: self.step]
        seen = rng.poisson(3000 * light + 200) + rng.normal(0, 10, light.shape)
        return np.clip(seen, 0, 65535).astype(np.uint16)


def measure(model: Model, planes: NDArray[np.uint16]) -> dict[str, float]:
    """Count a stack in every way."""
    stack = drain(
        iter_count_stack(model, planes.__getitem__, range(len(planes)), diameter_px=DIAMETER)
    )
    distance = stack.merged.distance_px
    return {
        "sum over planes": float(stack.plane_counts.sum()),
        "middle plane": float(stack.plane_counts[len(planes) // 2]),
        "projection": predict(model, planes.max(axis=0), diameter_px=DIAMETER).count,
        "merged": stack.count,
        "merged, gap 1": len(merge_planes(stack.dots, distance, gap=1).dots),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nuclei-fluorescence")
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = zoo.load(arguments.model)
    rng = np.random.default_rng(arguments.seed)
    kinds = [
        Volume(n, step, blur) for step, blur in ((4, 2), (4, 6), (8, 2)) for n in (20, 60, 150)
    ]
    for i, kind in enumerate(kinds):
        found = [measure(model, kind.draw(rng)) for _ in range(arguments.volumes)]
        if i == 0:
            print("| cells | step, px | blur, px |", " | ".join(found[0]), "|")
            print("|" + "---|" * (3 + len(found[0])))
        means = [f"{np.mean([figures[name] for figures in found]):.1f}" for name in found[0]]
        print(f"| {kind.cells} | {kind.step} | {kind.blur} |", " | ".join(means), "|", flush=True)


if __name__ == "__main__":
    main()

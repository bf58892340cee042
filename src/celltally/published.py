"""The published architectures among the networks: which they are, by whom, and when to use them.

Free of torch, so that a list of models can tell them apart at once. The networks themselves
are in ``celltally.networks``, and docs/networks.md says more of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PUBLISHED", "Architecture"]

#: Shares of the channels that have a word of their own.
SHARES = {0.5: "half", 0.25: "a quarter", 0.125: "an eighth", 0.0625: "a sixteenth"}


@dataclass(frozen=True)
class Architecture:
    """A network that was described in a paper.

    Attributes
    ----------
    title
        What it is called.
    reference
        Authors and year, in short.
    paper
        Authors, title, place and year.
    use
        When to use it, in one line.
    parameters
        Number of weights at the default settings.
    settings
        Its config's default settings, the paper's.
    """

    title: str
    reference: str
    paper: str
    use: str
    parameters: int
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Title and reference."""
        return f"{self.title} ({self.reference})"

    def changes(self, config: Mapping[str, Any]) -> list[str]:
        """Say in words in which settings a network's config differs from the paper's."""
        changes = []
        for name, default in self.settings.items():
            usual, value = _as_in_json(default), _as_in_json(config.get(name, default))
            if value == usual:
                continue
            if name == "width" and isinstance(value, int | float):
                share = SHARES.get(value)
                changes.append(f"{share} of the channels" if share else f"{value:g} × the channels")
            elif isinstance(usual, bool):
                changes.append(f"{'with' if value else 'without'} {name}")
            else:
                changes.append(f"{name} {value} instead of {usual}")
        return changes


def _as_in_json(value: Any) -> Any:
    """Put lists for tuples, so that configs compare alike before and after they were stored."""
    return list(value) if isinstance(value, tuple) else value


_CSRNET = {"width": 1.0, "density_weight": 100.0, "pretrained": False}

#: By the name that the network is registered under.
PUBLISHED: Mapping[str, Architecture] = {
    "countxplain": Architecture(
        title="CountXplain",
        reference="Mohammed et al. 2025",
        paper="Mohammed, Tavanapong, Fonder & Sakaguchi, “CountXplain: Interpretable Cell "
        "Counting with Prototype-Based Density Map Estimation”, MIDL 2025",
        use="To see a count explained by a few examples, as it was published; its map is as "
        "coarse as CSRNet's.",
        parameters=16_270_185,
        settings=_CSRNET
        | {
            "prototypes": 6,
            "depth": 64,
            "epsilon": 1e-4,
            "cell_only": False,
            "prototype_weight": 1.0,
            "diversity_weight": 1.0,
            "tolerance": 0.0,
        },
    ),
    "csrnet": Architecture(
        title="CSRNet",
        reference="Li et al. 2018",
        paper="Li, Zhang & Chen, “CSRNet: Dilated Convolutional Neural Networks for Understanding "
        "the Highly Congested Scenes”, CVPR 2018",
        use="To compare with a well-known density network; its map is coarse, so trust the count "
        "rather than the dots.",
        parameters=16_265_634,
        settings=_CSRNET,
    ),
    "decoupled": Architecture(
        title="Decoupled learning",
        reference="Zheng et al. 2024",
        paper="Zheng, Shi, Li, Hu, Zhu & Mou, “Rethinking Cell Counting Methods: Decoupling "
        "Counting and Localization”, MICCAI 2024",
        use="To compare, or where training images have counts but no dots; it takes an image in "
        "one piece, so large ones need much memory.",
        parameters=50_918_949,
        settings={
            "width": 1.0,
            "message_passing": True,
            "batch_norm": False,
            "head_widths": (),
            "pretrained": False,
        },
    ),
    "fpn_counter": Architecture(
        title="Feature pyramid and counter",
        reference="Hernández et al. 2018",
        paper="Hernández, Sultan & Pande, “Using Deep Learning for Segmentation and Counting "
        "within Microscopy Data”, arXiv 1802.10548, 2018",
        use="To compare, where masks are at hand; every image is shrunk to 256 × 192 px, so it "
        "suits single fields of one size.",
        parameters=31_002_954,
        settings={
            "width": 1.0,
            "image_height": 192,
            "image_width": 256,
            "down_filters": (128, 128, 128, 128),
            "cross_filters": 128,
            "head_filters": (256, 256),
            "vgg": (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
            "hidden": (1024, 512),
            "aleatoric": "paper",
            "total_variation": 2e-6,
        },
    ),
    "patch_regression": Architecture(
        title="Patch regression",
        reference="Xue et al. 2016",
        paper="Xue, Ray, Hugh & Bigras, “Cell Counting by Regression Using Convolutional Neural "
        "Network”, ECCV 2016 Workshops, LNCS 9913, pp. 274–290",
        use="To compare with counting window by window; slow, and its smooth map shows where "
        "cells are dense, not where each one is.",
        parameters=58_211_490,
        settings={
            "backbone": "resnet152",
            "patch": 60,
            "step": 30,
            "side": 224,
            "windows": 32,
            "pretrained": False,
        },
    ),
}

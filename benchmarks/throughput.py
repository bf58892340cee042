"""Megapixels per second of `tally` beside other networks, in one run on one device.

All see the same image at model scale, in the precision that the program would use, and
have random weights, which cost the same as trained ones.

    python benchmarks/throughput.py [--networks csrnet,fpn_counter] [--side 1024]
        [--device auto] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional

from celltally.devices import autocast, resolve_device
from celltally.networks import CountingNetwork, build
from celltally.scale import THUMBNAIL


def forward(network: CountingNetwork, image: Tensor) -> object:
    """Run a network as the program does: `tally` also looks at a thumbnail."""
    small = functional.interpolate(image, (THUMBNAIL, THUMBNAIL), mode="area")
    return network(image, network.encode_context(small))


def seconds(network: CountingNetwork, image: Tensor, device: torch.device) -> float:
    """Seconds of one forward pass, with nothing of it left running."""
    start = time.perf_counter()
    with torch.inference_mode(), autocast(device):
        forward(network, image)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="csrnet", help="beside tally; the papers' sizes")
    parser.add_argument("--side", type=int, default=1024, help="image side in model-scale pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    image = torch.rand(1, 3, arguments.side, arguments.side, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    networks = {name: build(name) for name in ("tally", *arguments.networks.split(","))}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for network in networks.values():
        network.eval().to(device, memory_format=torch.channels_last)
        seconds(network, image, device)
    for _ in range(arguments.repeats):  # in turn, so that a noisy machine is noisy for all
        for name, network in networks.items():
            times[name].append(seconds(network, image, device))
    speed = {
        name: arguments.side**2 / 1e6 / statistics.median(taken) for name, taken in times.items()
    }
    ratios = {name: speed["tally"] / speed[name] for name in networks}
    if arguments.json:
        print(json.dumps({"mpx_per_s": speed, "ratios": ratios, "device": str(device)}))
        return
    print(f"{device}, {torch.get_num_threads()} threads, {arguments.side} px, median of "
          f"{arguments.repeats}")  # fmt: skip
    for name, network in networks.items():
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        print(f"{name:>16}: {speed[name]:7.3f} Mpx/s, {millions:6.2f} M parameters, "
              f"tally is {ratios[name]:.1f} times as fast")  # fmt: skip


if __name__ == "__main__":
    main()

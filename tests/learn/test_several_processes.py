"""A training in two processes of one CPU, as one on two GPUs runs."""

import os
import subprocess
import sys

#: Every process trains, and tells what its network then holds.
SCRIPT = """
import hashlib
import os
import sys

os.cpu_count = lambda: 2  # of a machine with one core as well

from celltally.learn.data import read_dataset
from celltally.learn.fit import Budget, FitConfig, iter_fit, make_fabric
from celltally.learn.prepare import prepare
from celltally.networks import build
from celltally.progress import drain

fabric = make_fabric("cpu", devices=2)
dataset = read_dataset(sys.argv[1])
images = drain(prepare([(dataset, sample) for sample in dataset.samples], 12.0))
network = build("fpn_counter", {
    "image_height": 32, "image_width": 48, "down_filters": [4, 4], "cross_filters": 4,
    "head_filters": [4], "vgg": [4, 0, 8, 0], "hidden": [8],
})
config = FitConfig(count_batch=2, augmentation=None, validate_every=2)
drain(iter_fit(
    network, images, images[:1], config, Budget(steps=4), fabric, nominal_px=12.0,
    stage=network.stages[-1],
))
held = hashlib.sha256()
for name, tensor in sorted(network.state_dict().items()):
    held.update(name.encode() + tensor.numpy().tobytes())
mean = network.counter.vgg[0][1].running_mean
fabric.barrier()
rank = f"rank {fabric.global_rank} of {fabric.world_size}"
print(f"{rank}: {held.hexdigest()} {mean.any()}\\n", end="")
"""


def test_every_process_ends_with_the_same_network(dataset_folder, tmp_path):
    """The statistics of batch norms included, which are taken from batches of its own."""
    data = dataset_folder(counts=[2, 12, 5, 16, 8, 10], labels="counts")
    script = tmp_path / "two_processes.py"
    script.write_text(SCRIPT, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(script), str(data)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = sorted(line for line in run.stdout.splitlines() if line.startswith("rank "))
    assert [line.split(":")[0] for line in told] == ["rank 0 of 2", "rank 1 of 2"], run.stdout
    (first, moved), (second, _) = (line.split(":")[1].split() for line in told)
    assert moved == "True"
    assert first == second

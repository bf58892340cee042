"""Where a network runs, in which precision, and how large a tile may be there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from celltally.errors import UserError

__all__ = ["autocast", "best_tile", "free_memory", "is_out_of_memory", "resolve_device"]

DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
#: Model-scale pixels along a tile's side: larger ones bring no speed.
LARGEST_TILE, SMALLEST_TILE = 2048, 256
#: Peak memory per model-scale pixel: 130 were measured for `tally` in float32 on a CPU (the
#: largest activations are at half resolution), and a GPU's convolutions want room as well.
BYTES_PER_PIXEL = 200


def resolve_device(device: str) -> torch.device:
    """Torch device for a name; ``auto`` is CUDA, then MPS, then the CPU.

    Raises
    ------
    UserError
        For a name that is none, or a device that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = None
    if chosen is None or chosen.type not in {"cpu", "cuda", "mps"}:
        raise UserError(f"there is no device {device!r}; use one of: {', '.join(DEVICES)}")
    missing = (
        (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count())
        or (chosen.type == "mps" and not torch.backends.mps.is_available())
        or (chosen.type == "cpu" and (chosen.index or 0) > 0)
    )
    if missing:
        raise UserError(f"this computer has no device {device!r}; use 'auto' or 'cpu'")
    return chosen


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 (half on MPS) where the device is good at it, else float32."""
    if device.type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.autocast("cuda", dtype=dtype)
    if device.type == "mps":
        return torch.autocast("mps", dtype=torch.float16)
    if cpu_is_good_at_bfloat16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def cpu_is_good_at_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)


def best_tile(device: torch.device, bytes_per_pixel: int = BYTES_PER_PIXEL) -> int:
    """Side of the largest tile that a quarter of the free memory holds."""
    side = int((free_memory(device) / 4 / bytes_per_pixel) ** 0.5)
    return max(SMALLEST_TILE, min(LARGEST_TILE, side))


def free_memory(device: torch.device) -> int:
    """Bytes that a network may use there: those that nothing uses, and those torch keeps."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    import psutil

    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch or numpy ran out of memory (torch's CPU allocator has no error of its own)."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "memory" in text and ("alloc" in text or "not enough" in text or "out of" in text)
    )

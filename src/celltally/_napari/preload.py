"""Load torch's libraries without holding the window up, or taking it down.

``import torch`` opens shared libraries of several hundred megabytes with
Python's global lock held, and the window stands still meanwhile, whatever
thread does it (0.3 s on a fast machine, many seconds from a cold disk). A
foreign call through ctypes gives the lock back: libraries opened that way first
are merely looked up by the import that follows.

torchvision and torch's compiler import triton where it is installed, which brings an LLVM
of its own. Where Mesa draws the window with LLVM (software OpenGL, AMD), the two mistake
each other's functions, and importing triton kills the process (tried with triton 3.9 and
Mesa's LLVM 15). Counting needs no triton: there it is kept out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from celltally._napari.collecting import without_collecting

__all__ = ["loading_torch", "preload_torch"]

#: What is loaded into this process.
MAPS = Path("/proc/self/maps")
#: In the order in which they need each other.
LIBRARIES = ("torch_global_deps", "c10", "torch_cpu", "torch_cuda", "torch", "torch_python")


def preload_torch() -> None:
    """Open torch's libraries with the lock given back; harmless where that fails.

    Call it on a worker's thread, before the first ``import torch``.
    """
    _keep_triton_out()
    if "torch" in sys.modules or os.name == "nt":
        return  # Windows finds torch's libraries only after torch has set its search path
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    for library in LIBRARIES:
        path = Path(spec.origin).parent / "lib" / f"lib{library}{suffix}"
        if path.is_file():
            dlopen(os.fsencode(path), os.RTLD_NOW)


@contextmanager
def loading_torch() -> Generator[None, None, None]:
    """Import what needs torch in this block, on a worker's thread; the window goes on."""
    preload_torch()
    with without_collecting():
        yield


def _keep_triton_out() -> None:
    """Let triton be missing where its import would kill the process."""
    with suppress(OSError):  # only Linux has these maps, and triton
        if "triton" not in sys.modules and "libLLVM" in MAPS.read_text(errors="replace"):
            sys.modules["triton"] = None  # type: ignore[assignment]

"""Maps and candidates of a prediction as blobs of a project file."""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray

from celltally.types import Dots

__all__ = ["pack_dots", "pack_map", "unpack_dots", "unpack_map"]

#: zlib's; higher ones take far longer and save little of a density.
LEVEL = 1


def pack_map(values: NDArray[np.float32]) -> bytes:
    """Pack maps ``(K, h, w)`` in half precision, each relative to its largest value.

    A cell's value is kept to 5 in 10,000, or to 3e-8 of its map's largest where that is more;
    the sum of each map is kept as well as its cells can show it, for it is a count.
    """
    values = np.asarray(values, dtype=np.float32)
    sums = values.sum(axis=(1, 2), dtype=np.float64)
    largest = np.abs(values).max(axis=(1, 2), initial=0.0).astype(np.float64)
    largest[largest == 0] = 1.0
    halves = (values / largest[:, None, None]).astype(np.float16)
    planes = halves.view(np.uint8).reshape(-1, 2).T  # alike bytes together compress better
    head = io.BytesIO()
    np.savez(head, shape=values.shape, largest=largest, sums=sums)
    head_bytes = head.getvalue()
    body = zlib.compress(np.ascontiguousarray(planes).tobytes(), LEVEL)
    return len(head_bytes).to_bytes(4, "big") + head_bytes + body


def unpack_map(data: bytes) -> NDArray[np.float32]:
    """Return what ``pack_map`` packed."""
    size = int.from_bytes(data[:4], "big")
    with np.load(io.BytesIO(data[4 : 4 + size]), allow_pickle=False) as head:
        shape, largest, sums = tuple(head["shape"]), head["largest"], head["sums"]
    planes = np.frombuffer(zlib.decompress(data[4 + size :]), np.uint8).reshape(2, -1)
    halves = np.ascontiguousarray(planes.T).view(np.float16).reshape(shape)
    values = np.empty(shape, np.float32)
    for k in range(len(values)):
        values[k] = _summing_to(halves[k], largest[k], sums[k])
    return values


def _summing_to(halves: NDArray[np.float16], largest: float, total: float) -> NDArray[np.float32]:
    """Bring a map back to its size, what rounding took from its sum shared by size of the cells.

    What float32 rounds away then goes to the largest cell.
    """
    exact = halves.astype(np.float64) * largest
    mass = np.abs(exact)
    whole = float(mass.sum())
    if not whole:
        return exact.astype(np.float32)
    exact += mass * ((total - exact.sum()) / whole)
    values = exact.astype(np.float32)
    values.flat[int(mass.argmax())] += np.float32(total - values.sum(dtype=np.float64))
    return values


def pack_dots(dots: Dots) -> bytes:
    """Pack proposals: positions, scores, ids and classes; the rest is alike for all of them."""
    content = io.BytesIO()
    ids = np.frombuffer(b"".join(bytes.fromhex(i) for i in dots.id.tolist()), np.uint8)
    columns = {name: getattr(dots, name) for name in ("yx", "t", "z", "score", "label")}
    np.savez_compressed(content, **columns, id=ids.reshape(-1, 16))
    return content.getvalue()


def unpack_dots(data: bytes, *, source: str) -> Dots:
    """Return what ``pack_dots`` packed, from one source."""
    with np.load(io.BytesIO(data), allow_pickle=False) as content:
        columns = {name: content[name] for name in ("t", "z", "score", "label")}
        ids = [row.tobytes().hex() for row in content["id"]]
        return Dots.new(content["yx"], id=np.array(ids, dtype=np.str_), source=source, **columns)

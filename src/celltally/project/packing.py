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
    """Pack a map ``(K, h, w)`` in half precision, relative to its largest value.

    A cell's value is kept to 5 in 10,000, and the sum of each of the K maps exactly, for it is
    a count.
    """
    values = np.asarray(values, dtype=np.float32)
    sums = values.sum(axis=(1, 2), dtype=np.float64)
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    halves = (values / np.float32(largest)).astype(np.float16)
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
        shape, largest, sums = tuple(head["shape"]), float(head["largest"]), head["sums"]
    planes = np.frombuffer(zlib.decompress(data[4 + size :]), np.uint8).reshape(2, -1)
    halves = np.ascontiguousarray(planes.T).view(np.float16).reshape(shape)
    values = halves.astype(np.float32) * np.float32(largest)
    for one, total in zip(values, sums, strict=True):
        rounded = one.sum(dtype=np.float64)
        if rounded and abs(total / rounded - 1) < 0.01:  # else there is nothing but rounding
            one *= np.float32(total / rounded)
    return values


def pack_dots(dots: Dots) -> bytes:
    """Pack proposals: positions, scores and ids; the rest is alike for all of them."""
    content = io.BytesIO()
    ids = np.frombuffer(b"".join(bytes.fromhex(i) for i in dots.id.tolist()), np.uint8)
    np.savez_compressed(content, yx=dots.yx, score=dots.score, id=ids.reshape(-1, 16))
    return content.getvalue()


def unpack_dots(data: bytes, *, t: int, z: int, label: str, source: str) -> Dots:
    """Return what ``pack_dots`` packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as content:
        ids = [row.tobytes().hex() for row in content["id"]]
        return Dots.new(
            content["yx"],
            id=np.array(ids, dtype=np.str_),
            t=t,
            z=z,
            label=label,
            score=content["score"],
            source=source,
        )

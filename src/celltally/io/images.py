"""Any image file → ``Image``; any list of files and folders → the images in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from celltally.errors import UserError
from celltally.io._files import read_head, reason, unreadable
from celltally.io.bioio import READERS, list_bioio_scenes, read_bioio
from celltally.io.density import is_celltally_density
from celltally.io.tiff import list_tiff_scenes, read_tiff
from celltally.io.zarr import is_zarr, list_zarr_scenes, read_zarr
from celltally.types import Image

__all__ = ["IMAGE_SUFFIXES", "find_images", "list_scenes", "read_image"]

#: Suffixes by which images are looked for in folders (``.zarr`` is a folder itself).
IMAGE_SUFFIXES = (
    *(".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".ndpi"),
    *(".png", ".jpg", ".jpeg"),
    *(".nd2", ".czi", ".lif"),
    ".zarr",
)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_MAKERS = {
    b"ZISRAWFILE": ".czi",
    b"\xda\xce\xbe\x0a": ".nd2",
    b"\0\0\0\x0cjP  ": ".nd2",  # before 2010, JPEG 2000 inside
    b"\x70\0\0\0": ".lif",
}
#: Pillow refuses larger pictures as a safeguard; microscopes make them.
_PILLOW_PIXELS = 80_000_000


def read_image(path: str | Path, *, scene: str | int | None = None) -> Image:
    """Open an image file or OME-Zarr folder.

    What the file's first bytes say decides, then its suffix. TIFF, OME-Zarr, ND2,
    CZI and LIF are read when their data are indexed; PNG and JPEG at once.

    Parameters
    ----------
    path
        TIFF (ImageJ, OME, LSM, plain), PNG, JPEG, OME-Zarr, ND2, CZI or LIF.
    scene
        Name or index, in files that hold several (``list_scenes``); else the first.

    Returns
    -------
    Image
        Pixels in the file's own dtype, with axes, pixel size and channel names.
        An axis that the file leaves unnamed is taken for channels when it is at
        most 4 long, else for z; alpha channels stay in ``data`` and are left out
        by ``select_pixels``.

    Raises
    ------
    UserError
        When the file is missing, a folder, empty, truncated, of another kind,
        without pixels, not numeric, has no such scene, or needs a reader that is
        not installed.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "zarr":
        image = read_zarr(path, scene)
    elif kind == "tiff":
        image = read_tiff(path, scene)
    elif kind == "picture":
        image = _read_picture(path)
    else:
        image = read_bioio(path, kind, scene)
    if np.dtype(image.data.dtype).kind not in "buif":
        raise UserError(
            f"{path} holds {image.data.dtype} values, which are no intensities; "
            "convert it to 8-bit, 16-bit or 32-bit"
        )
    return image


def list_scenes(path: str | Path) -> list[str]:
    """Return the names of a file's scenes, or none where it holds one image only.

    Raises
    ------
    UserError
        As ``read_image``.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "picture":
        return []
    if kind == "zarr":
        scenes = list_zarr_scenes(path)
    elif kind == "tiff":
        scenes = list_tiff_scenes(path)
    else:
        scenes = list_bioio_scenes(path, kind)
    return scenes if len(scenes) > 1 else []


def find_images(paths: Iterable[str | Path], *, recursive: bool = False) -> list[Path]:
    """Return the images among files and folders, sorted, each once.

    A file that is named is taken whatever its suffix; in folders the suffix
    decides (``IMAGE_SUFFIXES``), and hidden files are passed over, as are
    densities that counting wrote there. An OME-Zarr folder is one image.

    Parameters
    ----------
    paths
        Files and folders.
    recursive
        Whether to look into subfolders.

    Raises
    ------
    UserError
        When a path does not exist, a folder cannot be listed, or there is no
        image in one.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if not os.path.lexists(path):
            raise UserError(f"{path} does not exist; check the path")
        if not path.is_dir() or is_zarr(path):
            found.setdefault(os.path.normpath(path.absolute()), path)
            continue
        inside = _images_in(path, recursive)
        if not inside:
            raise UserError(_no_images(path, recursive))
        for image in inside:
            found.setdefault(os.path.normpath(image.absolute()), image)
    return sorted(found.values())


def _kind(path: Path) -> str:
    """Return 'zarr', 'tiff', 'picture', or the suffix of a maker's format."""
    if path.is_dir():
        if is_zarr(path):
            return "zarr"
        raise UserError(f"{path} is a folder, not an image; give the files in it")
    head = read_head(path)
    if head.startswith(_TIFF):
        return "tiff"
    if head.startswith((_PNG, _JPEG)):
        return "picture"
    suffix = path.suffix.lower()
    for magic, maker in _MAKERS.items():
        # Four bytes can begin any file: the short ones count with the suffix only.
        if head.startswith(magic) and (len(magic) > 4 or suffix == maker):
            return maker
    if suffix in READERS:
        return suffix
    if suffix in IMAGE_SUFFIXES:
        raise UserError(
            f"{path} is named {suffix}, but its content is something else; export it again"
        )
    raise UserError(
        f"{path} is no image that can be read; use TIFF, PNG, JPEG, OME-Zarr, ND2, CZI or LIF"
    )


def _read_picture(path: Path) -> Image:
    import imageio.v3 as iio

    try:
        head = read_head(path, 26)
        deep = head.startswith(_PNG) and len(head) == 26 and head[24] == 16
        properties = iio.improps(path, index=0, plugin="pillow")
        if deep or properties.shape[0] * properties.shape[1] > _PILLOW_PIXELS:
            import imagecodecs

            # Pillow would cut 16-bit colours to 8 bits, and refuses huge pictures.
            pixels = imagecodecs.imread(path, codec=["png" if head[:1] == b"\x89" else "jpeg"])
        else:
            mode = iio.immeta(path, plugin="pillow").get("mode")
            colour = "RGB" if mode in ("CMYK", "YCbCr", "LAB", "HSV") else None
            pixels = iio.imread(path, index=0, plugin="pillow", mode=colour)
    except UserError:
        raise
    except Exception as error:  # a damaged picture can fail in any part of the decoder
        raise unreadable(path, error) from error
    pixels = np.asarray(pixels)
    if pixels.size == 0:
        raise UserError(f"{path} holds no pixels (its shape is {pixels.shape}); export it again")
    if pixels.ndim == 3 and pixels.shape[2] <= 2:
        pixels = pixels[..., 0]  # grey, and perhaps its transparency
    return Image(data=pixels, axes="YXS"[: pixels.ndim], name=path.name, path=path)


def _images_in(folder: Path, recursive: bool) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"folder {folder} cannot be listed ({reason(error)})") from error
    found = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if is_zarr(entry):
                if not is_celltally_density(entry):
                    found.append(entry)
            elif recursive and not entry.is_symlink():
                found.extend(_images_in(entry, recursive=True))
        elif entry.suffix.lower() in IMAGE_SUFFIXES and not is_celltally_density(entry):
            found.append(entry)
    return found


def _no_images(folder: Path, recursive: bool) -> str:
    if not recursive and _images_in(folder, recursive=True):
        return f"folder {folder} holds no image itself, but its subfolders do; add --recursive"
    suffixes = ", ".join(IMAGE_SUFFIXES)
    return f"folder {folder} holds no image; looked for {suffixes}"

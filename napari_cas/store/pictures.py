"""PNG, JPEG and whatever else imageio reads that is neither TIFF nor an array."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import ImageError
from napari_cas.store.loaded import LoadedImage, plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PROGRAMS = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""First bytes of PostScript, which Pillow has Ghostscript run whatever the file is called."""

PICTURE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".webp", ".avif"),
    *(".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx"),
)
"""What files are called that are looked for in folders; named one by one, others are read, too."""


def read_picture(path: Path) -> LoadedImage:
    """Open a picture.

    Parameters
    ----------
    path : Path
        The file; what is in it counts, not what it is called.

    Returns
    -------
    LoadedImage
        Axes yx, yxc, tyx or tyxc. Opacity is left out, palettes are colours.

    Raises
    ------
    ImageError
        It is a program or has other axes. imageio's own errors pass, too.
    """
    pixels = path.read_bytes()
    if pixels.startswith(_PROGRAMS):
        raise ImageError(
            f"{path} is a program in PostScript, not a picture",
            todo="Convert it to PNG or TIFF with a tool that you trust to run it.",
        )
    data = _decoded(pixels, path.suffix)
    if data.ndim not in (2, 3, 4):
        raise ImageError(f"{path} is no picture", expected="2 to 4 axes", got=f"{data.shape}")
    if data.ndim == 4:
        return plain(_opaque(data), "tyxc", path)
    if data.ndim == 3 and data.shape[-1] not in (2, 3, 4):
        return plain(data, "tyx", path)
    data = _opaque(data) if data.ndim == 3 else data
    return plain(data, "yxc" if data.ndim == 3 else "yx", path)


def _decoded(pixels: bytes, suffix: str) -> NDArray[Any]:
    """Return the pixels of an encoded picture."""
    import imageio.v3 as imageio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large pictures and odd metadata are fine
        # Given a path, imageio leaves the file open when no reader wants it.
        kind: dict[str, Any] = {"extension": suffix} if suffix else {}
        return np.asarray(imageio.imread(pixels, **kind))


def _opaque(data: NDArray[Any]) -> NDArray[Any]:
    """Drop the opacity, which says nothing about appearance; grey with opacity becomes grey."""
    if data.shape[-1] == 2:
        return np.ascontiguousarray(data[..., 0])
    return data[..., :3]

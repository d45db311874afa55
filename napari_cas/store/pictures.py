"""PNG, JPEG and whatever else imageio reads that is neither TIFF nor an array."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import ImageError, RegionError
from napari_cas.store.loaded import LoadedImage, plain
from napari_cas.store.opacity import without_opacity

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PROGRAMS = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""First bytes of PostScript, which Pillow has Ghostscript run whatever the file is called."""

_JPEG = b"\xff\xd8\xff"
"""First bytes of a JPEG."""

_PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG."""

PICTURE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".webp", ".avif"),
    *(".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx"),
)
"""What files are called that are looked for in folders; named one by one, others are read, too."""


def read_picture(path: Path, *, ids: bool = False) -> LoadedImage:
    """Open a picture.

    Parameters
    ----------
    path : Path
        The file; what is in it counts, not what it is called.
    ids : bool, optional
        Whether it is a map of regions: of a palette the indices are read, not the colours.

    Returns
    -------
    LoadedImage
        Axes yx, yxc, tyx or tyxc. Opacity is left out; where it is 0, there are no data. Inks
        (CMYK) become red, green and blue.

    Raises
    ------
    ImageError
        It is a program or has other axes. imageio's own errors pass, too.
    RegionError
        A map of regions is a JPEG.
    """
    pixels = path.read_bytes()
    if pixels.startswith(_PROGRAMS):
        raise ImageError(
            f"{path} is a program in PostScript, not a picture",
            todo="Convert it to PNG or TIFF with a tool that you trust to run it.",
        )
    if ids and pixels.startswith(_JPEG):
        raise jpeg_error(path)
    data = _decoded(pixels, path.suffix, ids=ids)
    if data.ndim not in (2, 3, 4):
        raise ImageError(f"{path} is no picture", expected="2 to 4 axes", got=f"{data.shape}")
    if data.ndim == 2 or (data.ndim == 3 and data.shape[-1] not in (2, 3, 4)):
        return plain(data, "tyx"[-data.ndim :], path)
    return _opaque(data, "tyxc"[-data.ndim :], path, ids=ids)


def jpeg_error(path: Path) -> RegionError:
    """Return the error of a map of regions that is compressed as photographs are."""
    return RegionError(
        f"{path} is no map of regions",
        expected="exact ids, as PNG, TIFF, .npy and Zarr keep them",
        got="a JPEG, which changes them",
        todo="Save the map as PNG or TIFF where it was made: a copy of the JPEG is as inexact.",
    )


def _decoded(pixels: bytes, suffix: str, *, ids: bool) -> NDArray[Any]:
    """Return the pixels of an encoded picture."""
    import imageio.v3 as imageio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large pictures and odd metadata are fine
        # Given a path, imageio leaves the file open when no reader wants it.
        kind: dict[str, Any] = {"extension": suffix} if suffix else {}
        if _is_deep_colour(pixels):
            import imagecodecs

            imageio.immeta(pixels, index=0, **kind)  # refuses what claims to be enormous
            return np.asarray(imagecodecs.png_decode(pixels))
        data = np.asarray(imageio.imread(pixels, **kind))
        if data.ndim == 4 and len(data) == 1:  # a GIF of one picture
            data = data[0]
        if data.ndim == 3 and data.shape[-1] in (3, 4):
            mode = imageio.immeta(pixels, index=0, exclude_applied=False, **kind).get("mode")
            if mode == "CMYK":  # imageio hands on inks as they are
                data = np.asarray(imageio.imread(pixels, index=0, mode="RGB", **kind))
            elif ids and mode == "P":
                data = np.asarray(imageio.imread(pixels, index=0, mode="P", **kind))
        return data


def _is_deep_colour(pixels: bytes) -> bool:
    """Return whether it is a PNG of 16 bits with colours or opacity: Pillow keeps 8 of them."""
    return pixels.startswith(_PNG) and pixels[24:25] == b"\x10" and pixels[25:26] != b"\0"


def _opaque(data: NDArray[Any], axes: str, path: Path, *, ids: bool) -> LoadedImage:
    """Return a picture without its opacity; grey with opacity becomes grey."""
    no_data, last = None, data.shape[-1] - 1
    if last in (1, 3):  # ids are kept wherever somebody put one
        data, no_data = (data[..., :last], None) if ids else without_opacity(data, axes, last)
    if data.shape[-1] == 1:
        data, axes = np.ascontiguousarray(data[..., 0]), axes[:-1]
    return plain(data, axes, path, no_data=no_data)

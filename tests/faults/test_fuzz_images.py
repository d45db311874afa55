"""Any file given as an image or a map of regions: it is read, or the error says what is wrong."""

from __future__ import annotations

import struct
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.cli import files
from napari_cas.errors import CASError
from napari_cas.store import Project
from napari_cas.store.validate import validate

from .hostile import examples, spoil_file, spoilt_bytes, within_memory

EXAMPLES = [8, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
IMAGE = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
MOST_PIXELS = 10**7
SIZES = st.sampled_from((0, 1, 31, 2**15, 2**16, 2**30, 2**31 - 1, 2**31, 2**32 - 1))


def png(width, height, depth, kind, pixels):
    """Return a PNG of whatever header around these bytes of compressed pixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def written(suffix, **options):
    """Return the bytes of a good file of this kind."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / f"x{suffix}"
        if suffix == ".npy":
            np.save(path, IMAGE)
        elif suffix == ".tif":
            tifffile.imwrite(path, IMAGE, photometric="rgb", **options)
        else:
            imageio.imwrite(path, IMAGE)
        return path.read_bytes()


@st.composite
def lying_tiffs(draw):
    """Return a TIFF of which some tags say something else."""
    good = bytearray(
        written(".tif", **draw(st.sampled_from(({}, {"tile": (16, 16)}, {"compression": "zlib"}))))
    )
    count = struct.unpack_from("<H", good, struct.unpack_from("<I", good, 4)[0])[0]
    start = struct.unpack_from("<I", good, 4)[0] + 2
    for _ in range(draw(st.integers(1, 4))):
        entry = start + 12 * draw(st.integers(0, count - 1))
        struct.pack_into("<I", good, entry + draw(st.sampled_from((4, 8, 8, 8))), draw(SIZES))
    return bytes(good)


@st.composite
def lying_npys(draw):
    """Return a .npy of which the header claims another shape or type."""
    shape = tuple(draw(st.lists(SIZES, min_size=0, max_size=5)))
    kind = draw(
        st.sampled_from(("|u1", "<f8", "|O", "<c16", "<U4", "[('a','<i4')]", "|V8", "<M8[s]"))
    )
    quoted = kind if kind[0] == "[" else repr(kind)
    head = f"{{'descr': {quoted}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + IMAGE.tobytes()


FILES = {
    ".png": spoilt_bytes(written(".png"))
    | st.builds(
        png,
        SIZES,
        SIZES,
        st.sampled_from((1, 8, 16, 3)),
        st.integers(0, 7),
        st.just(zlib.compress(bytes(4096))),
    ),
    ".jpg": spoilt_bytes(written(".jpg")),
    ".bmp": spoilt_bytes(written(".bmp")),
    ".tif": spoilt_bytes(written(".tif")) | lying_tiffs(),
    ".npy": spoilt_bytes(written(".npy")) | lying_npys(),
}


def take(path):
    """Do with a file what the command line does: as an image, as regions, as a data set."""
    with Project.create(path.parent / "p.zarr") as project:
        entry = project.add_image("good", IMAGE, "yxc")
        for act in (
            lambda: add(project, files.as_new_image(str(path))),
            lambda: project.add_reference("referred", path),
            lambda: files.paint(entry, str(path)),
        ):
            with suppress(CASError):
                act()
    validate(path)


def add(project, image):
    """Take an image in; an empty Zarr array of any size is a lawful image, but takes its time."""
    if np.prod(image.data.shape, dtype=float) > MOST_PIXELS:
        assert not isinstance(image.data, np.ndarray)
        return
    project.add_image(
        "x",
        image.data,
        image.axes,
        scale=image.scale,
        units=image.units,
        channel_names=image.channel_names,
    )


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("count", EXAMPLES)
def test_any_picture_file_is_read_or_refused_with_a_sentence(suffix, count):
    @examples(count)
    @given(FILES[suffix], st.sampled_from([suffix] * 4 + ["", ".xyz", *FILES]))
    def any_file(content, called):
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / f"x{called}"
            path.write_bytes(content)
            with within_memory():
                take(path)
            assert {p.name for p in Path(made).iterdir()} == {path.name, "p.zarr"}

    any_file()


def write_zarr(path, zarr_format, sharded):
    group = zarr.create_group(str(path), zarr_format=zarr_format)
    options = {"shards": (32, 32, 3)} if sharded else {}
    array = group.create_array("0", shape=IMAGE.shape, chunks=(16, 16, 3), dtype="u1", **options)
    array[...] = IMAGE
    axes = [{"name": a, "type": "channel" if a == "c" else "space"} for a in "yxc"]
    scales = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scales}]}
    if zarr_format == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


@pytest.mark.parametrize("count", EXAMPLES)
def test_any_damaged_zarr_is_read_or_refused_with_a_sentence(count):
    @examples(count)
    @given(st.data())
    def any_damage(data):
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / "x.zarr"
            write_zarr(path, *data.draw(st.sampled_from(((2, False), (3, False), (3, True)))))
            inside = sorted(p for p in path.rglob("*") if p.is_file())
            heads = [p for p in inside if p.name.startswith((".z", "zarr.json"))]
            for file in data.draw(
                st.lists(
                    st.sampled_from(heads) | st.sampled_from(inside),
                    min_size=1,
                    max_size=2,
                    unique=True,
                )
            ):
                if file.is_file():
                    spoil_file(data, file)
            with within_memory():
                take(path)
                take_array(path / "0")

    any_damage()


def take_array(path):
    """Read a plain Zarr array as an image."""
    with suppress(CASError):
        loaded = files.as_new_image(str(path))
        with Project.create(path.parent.parent / "q.zarr") as project:
            add(project, loaded)

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_cas.store import LabelArray, Project
from napari_cas.store.chunks import ChunkFiles


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def make_labels(tmp_path):
    """Make a label array on disk and open it as its writer or as another process would."""

    def make(shape=(600, 700), dtype="int32", name="labels", **options):
        path = tmp_path / name / "0"
        if not path.exists():
            ChunkFiles.create(path, shape, dtype, "tzyx"[-len(shape) :])
        options = {"writeable": True, "follow": False, **options}
        return LabelArray(ChunkFiles.open(path), **options)

    return make


@pytest.fixture
def project(tmp_path, rng):
    """A project with one small RGB image, open for writing."""
    with Project.create(tmp_path / "project.zarr") as made:
        made.add_image("cells", rng.integers(0, 255, (300, 400, 3)).astype(np.uint8), "yxc")
        yield made


@pytest.fixture
def write_v04():
    """Write an OME-Zarr 0.4 image (Zarr v2) as other programs do, with two levels."""

    def write(path, data, axes, scale=None):
        kinds = {"t": "time", "c": "channel"}
        group = zarr.create_group(str(path), zarr_format=2)
        half = data[..., ::2, ::2]
        for name, level in (("full", data), ("half", half)):
            array = group.create_array(
                name, shape=level.shape, dtype=level.dtype, chunks=(1,) * (data.ndim - 2) + (64, 64)
            )
            array[...] = level
        scale = list(scale or [1.0] * data.ndim)
        group.attrs["multiscales"] = [
            {
                "version": "0.4",
                "name": "from elsewhere",
                "axes": [{"name": a, "type": kinds.get(a, "space")} for a in axes],
                "datasets": [
                    {
                        "path": name,
                        "coordinateTransformations": [
                            {
                                "type": "scale",
                                "scale": [
                                    s * (f if a in "yx" else 1)
                                    for s, a in zip(scale, axes, strict=True)
                                ],
                            }
                        ],
                    }
                    for name, f in (("full", 1), ("half", 2))
                ],
            }
        ]
        return path

    return write

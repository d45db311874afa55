"""Labels for programs that do not read OME-Zarr."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from napari_cas.errors import InputError
from napari_cas.store.label_files import export_labels


def test_tiff_and_png_hold_the_labels(project, tmp_path, rng):
    stack = project.add_image("stack", rng.random((2, 60, 70)), "zyx")
    cells = project.image("cells")
    cells.regions[10:20, 10:300] = 70_000
    cells.prediction_view[5:9, 5:9] = 2
    stack.prediction_view[1, 3:5] = 4
    paths = export_labels(project, tmp_path / "out", include=("regions", "prediction"))
    assert [p.name for p in paths] == [
        "cells_regions.tif",
        "cells_prediction.tif",
        "stack_regions.tif",
        "stack_prediction.tif",
    ]
    np.testing.assert_array_equal(tifffile.imread(paths[0]), cells.regions[...])
    np.testing.assert_array_equal(tifffile.imread(paths[3]), stack.prediction_view[...])
    pngs = export_labels(project, tmp_path / "out", kind="png")
    assert [p.name for p in pngs] == [
        "cells_prediction.png",
        "stack_prediction_z0.png",
        "stack_prediction_z1.png",
    ]
    np.testing.assert_array_equal(imageio.imread(pngs[0]), cells.prediction_view[...])
    np.testing.assert_array_equal(imageio.imread(pngs[2]), stack.prediction_view[1])
    with pytest.raises(InputError, match="TIFF"):
        export_labels(project, tmp_path / "out", include=("regions",), kind="png")
    assert not list((tmp_path / "out").glob(".tmp*"))


@pytest.mark.parametrize("shape", [(3, 20, 30), (4, 20, 30), (2, 20, 3), (20, 4)])
def test_planes_are_no_colours(project, tmp_path, rng, shape):
    entry = project.add_image("a", rng.random(shape), "zyx"[-len(shape) :])
    entry.prediction_view[..., 3:9, :2] = 2
    (path,) = export_labels(project, tmp_path, images=["a"])
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert (page.photometric, page.samplesperpixel) == (tifffile.PHOTOMETRIC.MINISBLACK, 1)
        assert file.series[0].axes == "ZYX"[-len(shape) :]
        np.testing.assert_array_equal(file.asarray(), entry.prediction_view[...])

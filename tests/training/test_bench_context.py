"""The benchmark of neighbouring planes paints, learns and scores what nobody painted."""

from __future__ import annotations

from argparse import ArgumentParser

import numpy as np
import pytest
import tifffile

from napari_cas.errors import InputError
from training.bench_context import add_arguments, describe, paint, run, score


def truth(planes=6):
    """A disc that grows from plane to plane, on planes that all but the first have."""
    y, x = np.mgrid[:96, :96]
    distance = np.hypot(y - 48, x - 48)
    return np.stack([1 + (distance < 5 * z) for z in range(planes)]).astype(np.uint8)


def test_planes_with_two_classes_are_painted_evenly():
    painted = paint(truth(), 2, 0)
    assert np.flatnonzero(painted.any(axis=(1, 2))).tolist() == [2, 4]
    with pytest.raises(InputError, match="Too few planes"):
        paint(truth(), 6, 0)


def test_painted_planes_are_not_scored():
    painted, found = paint(truth(), 2, 0), truth()
    found[2] = found[4] = 1
    assert score(truth(), found, painted) == {"ari": 1.0, "mean_plane_ari": 1.0}
    found[3] = 1
    assert score(truth(), found, painted)["mean_plane_ari"] == pytest.approx(0.5 * 1.0, abs=0.2)


@pytest.mark.slow
def test_a_small_stack_is_learnt_with_and_without(tmp_path):
    rng = np.random.default_rng(0)
    image = (rng.normal(60, 8, truth().shape) + 90 * (truth() == 2)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", image)
    tifffile.imwrite(tmp_path / "truth.tif", truth())
    parser = ArgumentParser()
    add_arguments(parser)
    words = [str(tmp_path / "stack.tif"), str(tmp_path / "truth.tif"), "--painted", "2"]
    words += ["--seeds", "1", "--rounds", "1", "--contexts", "0", "1"]
    result = run(parser.parse_args(words))
    assert [row["context"] for row in result["contexts"]] == [0, 1]
    assert all(row["ari"] > 0.8 for row in result["contexts"])
    assert "mean of planes" in describe(result)

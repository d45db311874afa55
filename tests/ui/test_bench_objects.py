"""The benchmark of objects splits in the real viewer, so it is beside the viewer's other tests."""

from __future__ import annotations

import csv
from argparse import ArgumentParser

import numpy as np
import pytest

from training.bench_objects import add_arguments, blobs, describe, run


def test_blobs_use_all_labels_and_repeat_without_a_seam():
    labels = blobs(3, 2.0)
    counts = np.bincount(labels.ravel())
    assert counts[0] == 0
    assert len(counts) == 4
    assert counts[1:].min() > labels.size / 4
    inside = (labels[0, 500] == labels[0, 501]).mean()
    across = (labels[0, -1] == labels[0, 0]).mean()
    assert across == pytest.approx(inside, abs=0.05)
    assert inside > 0.7


@pytest.mark.slow
@pytest.mark.viewer
@pytest.mark.timeout(280)
def test_a_stack_and_a_huge_plane_are_split_and_shown(tmp_path):
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["--shapes", "3x600x500", "8300x700", "--idle", "1", "--results", str(tmp_path)]
    result = run(parser.parse_args(words))
    for row in result["rows"]:
        assert row["objects"] > 50
        assert 100 < row["before_mib"] <= row["peak_mib"]
        assert row["idle"]["count"] > 20
        assert row["splitting"]["count"] > 20
    with (tmp_path / "objects.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["shape"] for row in rows] == ["3x600x500", "8300x700"]
    assert "3x600x500" in describe(result)

"""The benchmark of tiles compares real predictions; more context makes tiles more like one go."""

from __future__ import annotations

import csv
from argparse import ArgumentParser

import numpy as np
import pytest

from training.bench_tiles import add_arguments, describe, ramps, run, textured


def measured(*words):
    parser = ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def test_a_sample_is_repeated_and_painted_once():
    source = textured("tissue", (300, 310))
    assert source.size == (300, 310)
    ((_, box),) = source.painted()
    assert box.y1 <= 256
    assert (source._image[:, 256:] == source._image[:, : 300 - 256]).all()


def test_context_is_what_makes_tiles_agree(tmp_path):
    words = ["--networks", "quick", "--size", "256", "384", "--tile", "128", "--halos", "0"]
    result = measured(*words, "--steps", "3", "--results", str(tmp_path))
    none, own = result["rows"]
    assert (none["halo"], none["own"], own["own"]) == (0, "", "yes")
    assert none["labels"] > 1
    assert none["differing"] > own["differing"]
    assert own["differing"] <= 0.1
    assert 1 < none["read"] < own["read"]
    with (tmp_path / "tiles.csv").open(newline="") as opened:
        assert [row["network"] for row in csv.DictReader(opened)] == ["quick", "quick"]
    assert "quick" in describe(result)


def test_means_over_a_window_are_what_lets_context_help():
    words = ["--networks", "lraspp_mobilenet_v3_large", "--size", "128", "1280"]
    none, own, everything = measured(*words, "--halos", "0")["rows"]
    assert [r["means"] for r in (none, own, everything)] == ["a window"] * 2 + ["all that is shown"]
    assert own["labels"] > 1
    assert own["differing"] <= 0.1 < everything["differing"] < none["differing"]
    # Without context there is nothing to blend.
    assert none["blended"] == pytest.approx(none["differing"])
    assert 0 <= own["blended"] <= 0.1


@pytest.mark.parametrize("reach", [0.5, 8])
def test_ramps_of_neighbours_sum_to_one(reach):
    total = np.zeros(100)
    for first, last in ((0, 40), (40, 64), (64, 100)):
        outer = max(first - 10, 0), min(last + 10, 100)
        total[slice(*outer)] += ramps((first, last), outer, 100, reach)
    assert np.allclose(total, 1)

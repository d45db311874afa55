"""The benchmark of sizes runs the real parts on small planes and reports what it did."""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser

import numpy as np
import pytest

from napari_cas.protocol import Box
from napari_cas.samples import load_sample
from training.bench_scale import (
    Repeated,
    Size,
    add_arguments,
    choose,
    describe,
    run,
    summarise,
)
from training.memory import PeakMemory


def test_a_texture_is_repeated_from_its_anchor():
    image = load_sample("tissue").image
    height, width = image.shape[:2]
    repeated = Repeated(image, 1500, 512)
    assert repeated.shape == (1500, 1500, 3)
    here = (slice(512, 512 + height), slice(512 + width, 512 + 2 * width), slice(None))
    assert np.array_equal(repeated[here], image)
    before = (slice(511, 512), slice(512, 513), slice(None))
    assert np.array_equal(repeated[before][0, 0], image[-1, 0])


def test_tiles_are_spread_and_not_those_that_rounds_predict():
    view = Box(512, 512, 1536, 1536)
    tiles = choose(8192, 5, 512, view)
    assert len({tile.box for tile in tiles}) == 5
    assert tiles[0].box[:2] == (0, 0)
    assert tiles[-1].box[2:] == (8192, 8192)
    everything = choose(2048, 999, 512, view)
    assert len(everything) == 16 - 4
    assert len(choose(1024, 9, 512, Box(0, 0, 1024, 1024))) == 4  # all there is, seen or not
    assert not {tile.box for tile in everything} & {Box(512, 512, 1024, 1024)}


def test_the_peak_of_memory_that_was_given_back_is_seen():
    with PeakMemory() as memory:
        block = np.ones(64 << 17)  # 64 MiB
        while memory.peak < memory.before + 50:
            pass
        del block
    assert 50 < memory.gained < 500


def test_ratios_are_of_the_largest_to_the_smallest():
    def size(side, seconds):
        rounds = [{"seconds": s, "fit": 1.0, "total": s} for s in (seconds, seconds, 99.0)]
        return Size(side, None, None, 0, Box(0, 0, 1, 1), rounds=rounds)

    result = summarise([size(10, 2.0), size(20, 2.5)])
    assert result["round_ratio"] == pytest.approx(1.25)
    assert result["least_round_ratio"] == pytest.approx(1.25)
    assert result["besides_fit_ratio"] == pytest.approx(1.5)
    assert [row["side"] for row in result["planes"]] == [10, 20]


@pytest.mark.slow
def test_small_planes_are_measured_and_written(tmp_path):
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["--sizes", "1536", "1152", "--rounds", "1", "--tiles", "2", "--results"]
    result = run(parser.parse_args([*words, str(tmp_path)]))
    small, large = result["planes"]
    assert (small["side"], large["side"]) == (1152, 1536)
    assert small["round_seconds"] > small["besides_fit_seconds"] > 0
    assert large["tiles"] == 2
    assert large["efficiency"] == pytest.approx(large["product_mpx_s"] / large["network_mpx_s"])
    assert large["worker_mib"] > 300
    assert json.loads((tmp_path / "scale.json").read_text())["round_ratio"] == result["round_ratio"]
    rows = list(csv.DictReader((tmp_path / "scale.csv").read_text().splitlines()))
    assert [row["side"] for row in rows] == ["1152.0", "1536.0"]
    assert "target: at most 1.3" in (tmp_path / "scale.md").read_text()
    assert "1536" in describe(result)

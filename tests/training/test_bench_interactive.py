"""The interactive benchmark runs the real parts on a small image and reports what it did."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.config import Config, FitConfig
from napari_cas.jobs.executor import LocalExecutor
from training.bench_interactive import Bench, describe, summarise
from training.scribbles import scribble


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    y, x = np.mgrid[:96, :128]
    truth = np.where(x < 50, 1, np.where(y < 50, 2, 3)).astype(np.int32)
    colours = np.array([[0, 0, 0], [220, 30, 30], [30, 30, 220], [30, 220, 30]])
    noise = np.random.default_rng(0).normal(0, 12, (96, 128, 3))
    image = np.clip(colours[truth] + noise, 0, 255).astype(np.uint8)
    config = Config(fit=FitConfig(round_seconds=0.3, max_rounds=2))
    with LocalExecutor(nice=0) as executor:
        bench = Bench(tmp_path_factory.mktemp("bench"), executor, config)
        device = bench.warm_up()
        painted = scribble(truth, seed=1)
        row = bench.compare(image, painted, truth, forest_first=False, go_on=True)
    return device, row


def test_both_methods_segment_three_plain_colours(rows):
    device, row = rows
    assert device
    assert row["ari"] > 0.6
    assert row["converged_ari"] > 0.6
    assert row["forest_ari"] > 0.9


def test_times_add_up(rows):
    _, row = rows
    assert 0 < row["phases"]["total"] <= row["seconds"] <= row["converged_seconds"]
    assert row["ratio"] == pytest.approx(row["seconds"] / row["forest_seconds"])
    assert 1 <= row["rounds"] <= 2


def test_the_summary_averages_and_reads_well(rows):
    row = {"image": "x", "regions": 3} | rows[1]
    result = summarise([row, row | {"seconds": row["seconds"] * 3}])
    assert result["mean"]["seconds"] == pytest.approx(2 * row["seconds"])
    assert result["ratio"] == pytest.approx(2 * row["seconds"] / row["forest_seconds"])
    assert "ratio of mean seconds" in describe(result)

"""The soak test runs its real parts, a few rounds and strokes long, and reports what it did."""

from __future__ import annotations

import csv
from argparse import ArgumentParser

import numpy as np
import pytest

from training.bench_soak import Soak, add_arguments, describe, growth, run


def options(*words):
    parser = ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_growth_is_that_of_the_warm_part():
    flat = growth([0.0] * 10 + [50.0] * 90)
    assert flat == {"start": 50.0, "end": 50.0, "most": 50.0, "per_100": 0.0}
    leaking = growth(np.arange(200) * 0.5)
    assert leaking["per_100"] == 50.0
    assert leaking["end"] > leaking["start"] + 70


def test_strokes_do_not_touch_each_other():
    soak = Soak.__new__(Soak)
    soak.args, soak.size = options(), 512
    places = np.array([soak.place(number) for number in range(soak.args.strokes)])
    assert len(np.unique(places, axis=0)) == 1000
    assert np.diff(np.unique(places[:, 0])).min() > 12  # rows: a brush of 5 pixels
    assert np.diff(np.unique(places[:, 1])).min() > 12 + 5  # columns: a stroke and its ends
    assert places.min() > 2
    assert places[:, 0].max() + 3 < 512
    assert places[:, 1].max() + 10 + 3 < 512


@pytest.mark.timeout(300)
def test_rounds_are_counted_and_the_worker_is_gone(tmp_path):
    words = ("--rounds", "6", "--strokes", "0", "--results", str(tmp_path))
    result = run(options(*words))
    rounds = result["rounds"]
    assert rounds["rounds"] == 6
    assert rounds["worker"]["end"] > 50
    assert rounds["messages"] == []
    assert rounds["worker_gone"]
    with (tmp_path / "soak.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["what"] for row in rows] == ["worker, 6 rounds", "session, 6 rounds"]
    assert float(rows[0]["end"]) == pytest.approx(rounds["worker"]["end"], abs=0.1)
    assert "worker, 6 rounds" in describe(result)

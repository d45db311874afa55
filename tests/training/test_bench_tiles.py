"""The benchmark of tiles compares real predictions; more context makes tiles more like one go."""

from __future__ import annotations

import csv
from argparse import ArgumentParser

from training.bench_tiles import add_arguments, describe, run, textured


def test_a_sample_is_repeated_and_painted_once():
    source = textured("tissue", 300)
    assert source.size == (300, 300)
    ((_, box),) = source.painted()
    assert box.y1 <= 256
    assert (source._image[:, 256:] == source._image[:, : 300 - 256]).all()


def test_context_is_what_makes_tiles_agree(tmp_path):
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["--networks", "quick", "--side", "384", "--halos", "0", "--steps", "3"]
    result = run(parser.parse_args([*words, "--results", str(tmp_path)]))
    none, own = result["rows"]
    assert (none["halo"], none["own"], own["own"]) == (0, "", "yes")
    assert none["labels"] > 1
    assert none["differing"] > own["differing"]
    assert own["differing"] <= 0.1
    with (tmp_path / "tiles.csv").open(newline="") as opened:
        assert [row["network"] for row in csv.DictReader(opened)] == ["quick", "quick"]
    assert "quick" in describe(result)

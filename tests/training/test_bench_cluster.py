"""The benchmark of clusters runs real schedulers and workers on a small plane."""

from __future__ import annotations

import csv
from argparse import ArgumentParser

import pytest

from napari_cas.errors import WorkerError
from training.bench_cluster import add_arguments, describe, notes, run
from training.cluster import ClusterProcesses

pytest.importorskip("distributed")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_small_plane_is_predicted_by_all_and_written(tmp_path):
    parser = ArgumentParser()
    add_arguments(parser)
    words = ["--side", "700", "--workers", "1", "2", "--rounds", "1", "--results"]
    result = run(parser.parse_args([*words, str(tmp_path)]))
    assert [row["workers"] for row in result["runs"]] == ["local", "1", "2"]
    assert {row["tiles"] for row in result["runs"]} == {4}
    assert result["identical"]
    assert len({row["digest"] for row in result["runs"]}) == 1
    rows = list(csv.DictReader((tmp_path / "cluster.csv").read_text().splitlines()))
    assert [row["identical"] for row in rows] == ["yes"] * 3
    assert "All labels are identical" in (tmp_path / "cluster.md").read_text()
    assert "local" in describe(result)


def test_labels_that_differ_are_not_passed_over():
    machine = {"processor": "p", "cores": 2, "load": 0.1, "load after": 0.2}
    settings = {"side": 512, "sample": "tissue"}
    differing = {"identical": False, "machine": machine, "settings": settings}
    assert notes(differing)[0] == "LABELS DIFFER."


def test_a_scheduler_that_does_not_start_says_what_it_printed(tmp_path):
    with pytest.raises(WorkerError, match="did not start") as caught:
        ClusterProcesses(tmp_path, ["--no-such-option"])
    assert "no-such-option" in caught.value.details

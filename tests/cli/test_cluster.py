"""`--scheduler`: a project on a Dask cluster's workers gives what it gives at home."""

import json
import shutil

import numpy as np
import pytest

from napari_cas.cli import main
from napari_cas.samples import load_sample
from napari_cas.store import Project

pytest.importorskip("distributed")


@pytest.fixture
def painted(tmp_path):
    """A project with a real photograph four times over, painted."""
    sample = load_sample("coffee")
    with Project.create(tmp_path / "painted.zarr") as project:
        entry = project.add_image("a", np.tile(sample.image, (2, 2, 1)), sample.axes)
        entry.regions[: sample.strokes.shape[0], : sample.strokes.shape[1]] = sample.strokes
    return tmp_path / "painted.zarr"


def run(capsys, *words):
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def labels_of(path):
    with Project.open(path, mode="r") as project:
        return np.asarray(project.image("a").prediction[...])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_neither_where_nor_by_how_many_workers_changes_a_label(
    painted, start_cluster, tmp_path, capsys
):
    away = shutil.copytree(painted, tmp_path / "away.zarr")
    run(capsys, "fine-tune", painted, "--max-rounds", 1)
    shutil.rmtree(painted / "images" / "a" / "labels" / "prediction" / "0" / "c")
    (painted / "images" / "a" / "predicted.jsonl").unlink()
    clusters = {workers: start_cluster(workers).address for workers in (1, 2, 4)}
    copies = {n: shutil.copytree(painted, tmp_path / f"{n}.zarr") for n in clusters}
    told = run(capsys, "predict", painted, "--all", "--tile-size", 256)
    tiles = told["predict"]["images"]["a"]["predicted"]
    assert tiles == told["predict"]["images"]["a"]["tiles"] >= 12
    labels = labels_of(painted)
    assert len(np.unique(labels)) > 1
    for workers, address in clusters.items():
        words = ("predict", copies[workers], "--all", "--tile-size", 256, "--scheduler", address)
        assert run(capsys, *words)["predict"]["images"]["a"]["predicted"] == tiles
        assert np.array_equal(labels_of(copies[workers]), labels), f"{workers} workers"
    # Training there is training here, too.
    run(capsys, "fine-tune", away, "--max-rounds", 1, "--scheduler", clusters[1])
    run(capsys, "predict", away, "--all", "--tile-size", 256, "--scheduler", clusters[2])
    assert np.array_equal(labels_of(away), labels)


def test_a_cluster_without_an_address_is_refused(painted, capsys):
    assert main(["predict", str(painted), "--resources", "GPU=1"]) == 2
    assert "--scheduler" in capsys.readouterr().err

"""Predicting a whole data set: the report, going on after a kill, and images that are damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_cas.cli import main
from napari_cas.samples import load_sample
from napari_cas.store import Project
from napari_cas.store.export import export

WAIT = 280


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A project of three real images that has learnt from the first."""
    path = tmp_path_factory.mktemp("tally") / "p.zarr"
    sample = load_sample("nuclei")
    big = np.tile(sample.image, (5, 5))
    with Project.create(path) as project:
        entry = project.add_image("painted", sample.image, sample.axes)
        entry.regions[...] = sample.strokes
        project.add_image("big", big, sample.axes)
        project.add_image("last", sample.image[::-1], sample.axes)
    assert main(["fine-tune", str(path), "--max-rounds", "1", "--quiet"]) == 0
    return path


def lines_of(path):
    """Return the tiles that are noted as predicted in an image."""
    file = path / "images" / "big" / "predicted.jsonl"
    return file.read_text().split("\n")[1:] if file.exists() else []


def predict(path, capsys, *words, code=0):
    assert main(["predict", str(path), "--all", "--tile-size", "256", "--json", *words]) == code
    return json.loads(capsys.readouterr().out)["predict"]


@pytest.mark.slow
def test_a_killed_prediction_goes_on_where_it_was(learnt, capsys):
    words = ["predict", str(learnt), "--all", "--tile-size", "256", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_cas", *words], start_new_session=True, env=os.environ
    )
    end = time.monotonic() + WAIT
    while len(lines_of(learnt)) < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT)
    time.sleep(1)  # the worker notices within half a second that its parent has gone
    before = lines_of(learnt)
    told = predict(learnt, capsys)
    big = told["images"]["big"]
    assert big["done_before"] == len(before) >= 3
    assert big["predicted"] == big["tiles"] - len(before) > 0
    after = lines_of(learnt)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == big["tiles"]
    assert told["seconds"] >= big["seconds"] > 0
    assert told["devices"] == ["cpu"]
    with Project.open(learnt) as project:
        assert np.asarray(project.image("big").prediction[...]).all()
    again = predict(learnt, capsys)["images"]
    assert [(i["predicted"], i["done_before"] - i["tiles"]) for i in again.values()] == [(0, 0)] * 3


def test_probabilities_of_a_project_predicted_before_are_whole(tmp_path, capsys):
    sample = load_sample("nuclei")
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", np.stack([sample.image] * 3), "zyx")
        entry.regions[1] = sample.strokes
    words = ["--channels", "4", "--max-rounds", "1", "--quiet"]
    assert main(["fine-tune", str(tmp_path / "p.zarr"), *words]) == 0
    capsys.readouterr()
    predict(tmp_path / "p.zarr", capsys)
    for predicted in (True, False):
        counts = predict(tmp_path / "p.zarr", capsys, "--probabilities")["images"]["a"]
        assert counts["predicted"] == counts["tiles"] * predicted
        assert counts["done_before"] == counts["tiles"] * (not predicted)
    again = predict(tmp_path / "p.zarr", capsys)["images"]["a"]
    assert again["done_before"] == again["tiles"]
    with Project.open(tmp_path / "p.zarr") as project:
        soft = np.asarray(project.image("a").probabilities[:], np.float32)
    assert np.allclose(soft.sum(0), 1, atol=5e-3)


@pytest.mark.slow
def test_a_damaged_image_is_named_and_the_others_are_predicted(learnt, capsys, tmp_path):
    path = shutil.copytree(learnt, tmp_path / "damaged.zarr")
    for file in (path / "images").glob("*/predicted.jsonl"):
        file.unlink()
    for chunk in (path / "images" / "painted" / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"not zstd")
    images = ["--image", "painted", "--image", "last"]
    words = ["predict", str(path), *images, "--json", "--output", str(tmp_path / "out")]
    assert main(words) == 2
    told = json.loads(capsys.readouterr().out)
    assert "cannot be read" in told["predict"]["images"]["painted"]["error"]
    assert told["predict"]["images"]["last"]["error"] is None
    assert told["predicted"] == ["last"]
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"last_prediction.png", "sources.json"}


@pytest.mark.slow
def test_why_a_project_cannot_be_written_is_said(learnt, monkeypatch, capsys):
    with Project.open(learnt):
        assert main(["predict", str(learnt), "--all"]) == 2
        assert "p.zarr is in use. Close it elsewhere" in capsys.readouterr().err
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
        assert main(["predict", str(learnt), "--all", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "cannot be written" in error["what"]
    assert "work on a copy" in error["todo"]


def test_an_image_that_is_gone_is_named_by_every_command(learnt, capsys, tmp_path):
    path, elsewhere = shutil.copytree(learnt, tmp_path / "p.zarr"), tmp_path / "elsewhere.zarr"
    with Project.open(path) as project:
        export(project, elsewhere, images=["last"], include=["images"])
        project.remove_image("big")
        project.add_reference("far", elsewhere)
    assert main(["validate", str(path)]) == 0
    shutil.rmtree(elsewhere)
    capsys.readouterr()
    images = predict(path, capsys, code=2)["images"]
    (wrong,) = (name for name, counts in images.items() if counts["error"])
    assert wrong == str(path / "images" / "far")
    assert "refers to is gone" in images[wrong]["error"]
    assert main(["export", str(path), str(tmp_path / "out.zarr"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert "refers to is gone" in json.loads(out)["left_out"]["far"]
    assert "far is left out" in err
    assert main(["validate", str(path), str(tmp_path / "out.zarr")]) == 1
    assert "images/far: The image that far refers to is gone" in capsys.readouterr().out


def test_background_is_skipped_on_request_and_said(learnt, capsys, tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        sample = load_sample("nuclei")
        slide = np.full((512, 1536), int(np.median(sample.image)), np.uint8)
        slide[: sample.image.shape[0], : sample.image.shape[1]] = sample.image[:512, :512]
        entry = project.add_image("slide", slide, "yx")
        height, width = (min(n, 512) for n in sample.strokes.shape)
        entry.regions[:height, :width] = sample.strokes[:height, :width]
    words = ["--skip-below", "5", "--quiet"]
    assert main(["fine-tune", str(tmp_path / "p.zarr"), "--max-rounds", "1", *words]) == 0
    capsys.readouterr()
    told = predict(tmp_path / "p.zarr", capsys, *words)
    with Project.open(tmp_path / "p.zarr") as project:
        labels = np.asarray(project.image("slide").prediction[...])
        done = project.image("slide").predicted_with(told["checkpoint"], settings="skip_below=5.0")
    assert told["images"]["slide"]["empty"] >= 4
    assert not labels[:, 768:].any()
    assert labels[: sample.image.shape[0], : sample.image.shape[1]].all()
    assert len(done) >= told["images"]["slide"]["tiles"]

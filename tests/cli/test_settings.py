"""Settings on the command line: what predict may change, and when a model is let go."""

import json
import shutil

import imageio.v3 as imageio
import numpy as np
import pytest

from napari_cas.cli import main
from napari_cas.samples import load_sample
from napari_cas.store import Project


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A project that has learnt with four channels, and its model outside."""
    folder = tmp_path_factory.mktemp("settings")
    sample = load_sample("nuclei")
    with Project.create(folder / "p.zarr") as project:
        entry = project.add_image("a", sample.image, sample.axes)
        entry.regions[...] = sample.strokes
    words = ["fine-tune", str(folder / "p.zarr"), "--max-rounds", "1", "--channels", "4"]
    assert main([*words, "--quiet", "--output", str(folder / "model")]) == 0
    return folder


@pytest.fixture
def copied(learnt, tmp_path):
    return shutil.copytree(learnt / "p.zarr", tmp_path / "p.zarr")


def state_of(path):
    return json.loads((path / "state.json").read_text())


@pytest.mark.parametrize(
    "words",
    [["--channels", "8"], ["--weights", "none"], ["--network", "fcn_resnet50"], ["--alpha", "0.5"],
     ["--max-rounds", "3"], ["--seed", "1"]],
)  # fmt: skip
def test_predict_refuses_what_bears_on_training_and_keeps_the_model(copied, capsys, words):
    before = state_of(copied)
    assert before["checkpoint"]
    assert main(["predict", str(copied), "--all", *words]) == 2
    err = capsys.readouterr().err
    assert "predict does not train" in err
    assert words[0] in err
    assert "--tile-size" in err
    assert state_of(copied) == before


def test_tiles_are_made_anew_with_other_settings(copied, capsys):
    def predict(*words):
        assert main(["predict", str(copied), "--all", "--json", *words]) == 0
        told = json.loads(capsys.readouterr().out)["predict"]["images"]["a"]
        with Project.open(copied) as project:
            return told, np.asarray(project.image("a").prediction[...])

    smooth, labels = predict()
    raw, other = predict("--follow-edges", "false")
    assert raw["predicted"] == raw["tiles"] == smooth["tiles"]
    assert (other != labels).any()
    assert predict("--follow-edges", "false")[0]["predicted"] == 0
    again, same = predict()
    assert again["predicted"] == again["tiles"]
    assert np.array_equal(same, labels)


def test_settings_of_a_prediction_are_for_this_run_only(copied, capsys):
    before = state_of(copied)
    words = ["--tile-size", "256", "--follow-edges", "false", "--skip-below", "0.5", "--json"]
    assert main(["predict", str(copied), "--all", *words, "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)["predict"]
    height, width = load_sample("nuclei").strokes.shape
    assert told["images"]["a"]["tiles"] == -(-height // 256) * -(-width // 256)
    assert told["checkpoint"] == before["checkpoint"]
    assert state_of(copied) == before


def test_a_saved_model_predicts_beside_the_project_which_keeps_its_own(
    learnt, copied, tmp_path, capsys
):
    before = state_of(copied)
    words = ["predict", str(copied), "--all", "--model", str(learnt / "model"), "--json"]
    assert main([*words, "--output", str(tmp_path / "labels")]) == 0
    told = json.loads(capsys.readouterr().out)["predict"]
    assert told["checkpoint"] == "model"
    assert told["images"]["a"]["source"] == str(copied / "images" / "a")
    assert state_of(copied) == before
    with Project.open(copied) as project:
        assert set(project.models) == {before["checkpoint"]}


def test_a_project_that_has_learnt_nothing_takes_a_saved_model_up(learnt, tmp_path):
    path = tmp_path / "new.zarr"
    with Project.create(path) as project:
        project.add_image("a", load_sample("nuclei").image, load_sample("nuclei").axes)
    assert main(["predict", str(path), "--model", str(learnt / "model"), "--tile-size", "256"]) == 0
    state = state_of(path)
    assert state["checkpoint"] == "model"
    assert state["config"]["model"]["channels"] == 4
    assert state["config"]["predict"]["tile_size"] == 512


def test_another_network_needs_to_be_asked_for_and_keeps_the_model_before(copied, capsys):
    before = state_of(copied)
    words = ["fine-tune", str(copied), "--channels", "6", "--max-rounds", "1"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "channels 4, got channels 6" in err
    assert "--anew" in err
    assert state_of(copied) == before
    with Project.open(copied) as project:
        weights = project.load_model(before["checkpoint"])[0]
    assert main([*words, "--anew"]) == 0
    name = f"kept-{before['checkpoint']}"
    assert name in capsys.readouterr().out
    after = state_of(copied)
    assert after["config"]["model"]["channels"] == 6
    assert after["checkpoint"] != before["checkpoint"]
    with Project.open(copied) as project:
        kept = project.load_model(name)[0]
    assert weights.keys() == kept.keys()
    assert all(np.array_equal(weights[key], kept[key]) for key in weights)


def test_anew_begins_anew_with_the_same_network_too(copied, tmp_path, capsys):
    words = ["fine-tune", str(copied), "--max-rounds", "1", "--json"]
    assert main(words) == 0
    on = json.loads(capsys.readouterr().out)["fine_tune"]
    assert main([*words, "--anew"]) == 0
    anew = json.loads(capsys.readouterr().out)["fine_tune"]
    assert anew["steps"] < on["steps"]
    image = tmp_path / "a.png"
    imageio.imwrite(image, load_sample("nuclei").image)
    assert main(["fine-tune", str(image), "--anew"]) == 2
    assert "--anew is for a project that has a model" in capsys.readouterr().err

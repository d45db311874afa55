"""`predict` on image files: one that is damaged, a kill, and where results may go."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import imageio.v3 as imageio
import numpy as np
import pytest

from napari_cas.cli import job, main, outputs
from napari_cas.samples import load_sample
from napari_cas.store import Project

WAIT = 280


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Real images as files, some of them unusable, and a model made from the first."""
    folder = tmp_path_factory.mktemp("predicting")
    sample = load_sample("nuclei")
    for name, image in (("a", sample.image), ("b", sample.image[::-1])):
        imageio.imwrite(folder / f"{name}.png", image)
    imageio.imwrite(folder / "regions.png", sample.strokes.astype(np.uint8))
    imageio.imwrite(folder / "big.png", np.tile(sample.image, (5, 5)))
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:2000])
    imageio.imwrite(folder / "flat.png", np.full((90, 90), 7, np.uint8))
    imageio.imwrite(folder / "colour.png", np.repeat(sample.image[..., None], 3, -1))
    words = ["fine-tune", "a.png", "--regions", "regions.png", "--output", "model"]
    with contextlib.chdir(folder):
        assert main([*words, "--max-rounds", "1", "--channels", "4", "--quiet"]) == 0
    return folder


@pytest.fixture
def here(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    return pictures


def predict(output, *words):
    return main(["predict", "--model", "model", "--output", str(output), *map(str, words)])


def test_images_that_cannot_be_used_do_not_hold_up_the_others(here, tmp_path, capsys):
    images = ["a.png", "cut.png", "colour.png", "nowhere.png", "b.png"]
    assert predict(tmp_path / "o", *images, "--json") == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["predicted"] == ["a", "b"]
    counts = told["predict"]["images"]
    wrong = {str(here / name) for name in images[1:4]}
    assert {name for name, count in counts.items() if count["error"]} == wrong
    assert "than those the model learnt from" in counts[str(here / "colour.png")]["error"]
    said = [line for line in err.splitlines() if line.startswith("napari-cas: ")]
    for name in images[1:4]:
        assert sum(name in line for line in said) == 1
    for name in "ab":
        assert counts[name]["source"] == str(here / f"{name}.png")
        assert counts[name]["files"] == [str(tmp_path / "o" / f"{name}_prediction.png")]
        assert imageio.imread(counts[name]["files"][0]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["o"]


def test_a_constant_image_is_predicted_and_not_learnt_from(here, tmp_path, capsys):
    assert predict(tmp_path / "o", "flat.png") == 0
    assert imageio.imread(tmp_path / "o" / "flat_prediction.png").all()
    map_ = np.zeros((90, 90), np.uint8)
    map_[:9], map_[20:29] = 1, 2
    imageio.imwrite(tmp_path / "map.png", map_)
    words = ["fine-tune", "flat.png", "--regions", tmp_path / "map.png", "--output"]
    assert main([*map(str, words), str(tmp_path / "m")]) == 2
    assert "flat is constant, so nothing in it" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"o", "map.png"}
    Project.create(tmp_path / "p.zarr").close()  # somebody's own, which stays as it was
    words[-1] = "--project"
    assert main([*map(str, words), str(tmp_path / "p.zarr")]) == 2
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.images == ()


@pytest.mark.parametrize("image", ["cut.png", "colour.png"])
def test_a_lone_image_that_cannot_be_used_leaves_nothing(here, tmp_path, capsys, image):
    assert predict(tmp_path / "o", image) == 2
    assert capsys.readouterr().err.startswith("napari-cas: ")
    assert list(tmp_path.iterdir()) == []


def lines_of(project):
    """Return the tiles that are noted as predicted in the project of a command."""
    file = project / "images" / "big" / "predicted.jsonl"
    return file.read_text().split("\n")[1:] if file.exists() else []


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("kept", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_prediction_of_files_goes_on_when_typed_again(here, tmp_path, capsys, kept):
    output, project = tmp_path / "o", tmp_path / "o.unfinished.zarr"
    words = ["a.png", "cut.png", "big.png", "--tile-size", "256", "--json"]
    if kept:
        project = tmp_path / "p.zarr"
        words += ["--project", str(project), "--probabilities"]
    command = [sys.executable, "-m", "napari_cas", "predict", "--model", "model"]
    process = subprocess.Popen(
        [*command, "--output", str(output), *words], stdout=subprocess.PIPE, start_new_session=True
    )
    end = time.monotonic() + WAIT
    while len(lines_of(project)) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=WAIT)
    time.sleep(1)  # the worker notices within half a second that its parent has gone
    before = len(lines_of(project))
    assert predict(output, *words) == 2  # for the damaged one
    told = json.loads(capsys.readouterr().out)["predict"]["images"]
    assert (told["a"]["predicted"], told["a"]["done_before"]) == (0, told["a"]["tiles"])
    assert told["big"]["done_before"] == before >= 2
    assert told["big"]["predicted"] == told["big"]["tiles"] - before > 0
    assert imageio.imread(told["big"]["files"][0]).all()
    assert {p.name for p in tmp_path.iterdir()} == ({"o", "p.zarr"} if kept else {"o"})
    if kept:
        assert not (project / job.PredictJob.file).exists()
        with Project.open(project) as opened:
            assert opened.images == ("a", "big")


def test_outputs_that_cannot_be_written_are_refused_before_the_work(here, tmp_path, capsys):
    (tmp_path / "file.png").write_bytes(b"mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    learn = ["fine-tune", "a.png", "--regions", "regions.png", "--output"]
    inside = str(tmp_path / "file.png" / "o")
    for words in (
        ["predict", "--model", "model", "a.png", "--output", str(tmp_path / "file.png")],
        ["predict", "--model", "model", "a.png", "--output", inside],
        [*learn, str(tmp_path / "file.png")],
        [*learn, str(tmp_path / "mine")],
    ):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert "cannot be a folder" in err or "not a folder for a model" in err
        assert "worker" not in out + err
    for words in (
        [*learn[:-1], "--project", inside],
        ["predict", "--model", "model", "a.png", "--output", "o", "--project", inside],
    ):
        assert main(words) == 2
        assert f"{tmp_path / 'file.png'} is a file, not a folder" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.png", "mine"]


def test_results_do_not_go_to_a_folder_called_as_a_url(here, tmp_path, capsys):
    learn, ask = ["fine-tune", "a.png", "--regions", "regions.png"], ["predict", "a.png"]
    before = sorted(here.iterdir())
    for words in (
        [*learn, "--output", "s3://there/m"],
        [*learn, "--project", "s3://there/p.zarr"],
        [*ask, "--model", "model", "--output", "s3://there/o"],
        [*ask, "--model", "model", "--output", str(tmp_path), "--project", "s3://there/p.zarr"],
    ):
        assert main(words) == 2
        assert "in a folder of a file system" in capsys.readouterr().err
    assert sorted(here.iterdir()) == before


def test_a_late_write_error_says_where_the_work_is_and_goes_on(here, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        from napari_cas.errors import StorageError

        raise StorageError("Could not write labels (No space left)", todo="Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_labels", full)
        assert predict(tmp_path / "o", "a.png") == 2
    assert str(tmp_path / "o.unfinished.zarr") in capsys.readouterr().err
    assert predict(tmp_path / "o", "a.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["predict"]["images"]["a"]["predicted"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["o"]


def test_another_image_of_the_same_name_gets_a_name_of_its_own(here, tmp_path, capsys):
    output = tmp_path / "o"
    (tmp_path / "x").mkdir()
    imageio.imwrite(tmp_path / "x" / "a.png", imageio.imread(here / "b.png"))
    assert predict(output, "a.png") == 0
    first = (output / "a_prediction.png").read_bytes()
    for _ in range(2):  # typed again it is the same image, under the same name
        assert predict(output, tmp_path / "x" / "a.png") == 0
        assert "called a-2" in capsys.readouterr().out
        assert (output / "a_prediction.png").read_bytes() == first
    assert predict(output, "a.png") == 0
    assert {p.name for p in output.iterdir()} == {
        "a_prediction.png", "a-2_prediction.png", "sources.json",
    }  # fmt: skip
    assert json.loads((output / "sources.json").read_text()) == {
        "a": str(here / "a.png"),
        "a-2": str(tmp_path / "x" / "a.png"),
    }


def test_a_project_does_not_replace_labels_of_another_image(here, tmp_path, capsys):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", imageio.imread(here / "a.png"), "yx")
    words = ["predict", str(tmp_path / "p.zarr"), "--model", "model"]
    for _ in range(2):
        assert main([*words, "--output", str(tmp_path / "mine")]) == 0
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "a_prediction.png").write_bytes(b"mine")
    capsys.readouterr()
    assert main([*words, "--output", str(tmp_path / "o")]) == 2
    assert "labels of another image named a" in capsys.readouterr().err
    assert (tmp_path / "o" / "a_prediction.png").read_bytes() == b"mine"


@pytest.fixture
def learnt(here, tmp_path):
    """A project with a model and a name of its own, and a correction."""
    path = tmp_path / "p.zarr"
    words = ["fine-tune", "a.png", "--regions", "regions.png", "--project", str(path), "--quiet"]
    assert main([*words, "--max-rounds", "1", "--channels", "4", "--seed", "5"]) == 0
    assert main(["predict", str(path), "--quiet"]) == 0
    with Project.open(path) as project:
        project.set_names({1: "mine"})
        project.image("a").prediction_view[10:30, 10:30] = 4
        project.flush()
    return path


def test_a_project_predicted_with_another_model_stays_as_it_is(learnt, here, tmp_path, capsys):
    def state():
        with Project.open(learnt, mode="r") as project:
            shown = np.asarray(project.image("a").prediction_view[...])
            return shown, project.naming.names, project.models, project.get_state()

    before = state()
    words = ["predict", str(learnt), "--model", "model"]
    for named in ("model", "model/model.json"):  # its folder, or a file in it
        assert main(["predict", str(learnt), "--model", named]) == 2
        assert "expected --output DIR" in capsys.readouterr().err
    assert main([*words, "--output", str(tmp_path / "o"), "--all"]) == 0
    assert predict(tmp_path / "files", "a.png") == 0
    found, expected = (imageio.imread(tmp_path / o / "a_prediction.png") for o in ("o", "files"))
    assert (found == expected).mean() > 0.99  # what that model says, and nothing else
    assert {p.name for p in tmp_path.iterdir()} == {"p.zarr", "o", "files"}
    for one, other in zip(before, state(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["predict", "--model", "model", "a.png", "--output", "o", "--image", "foo"], "--image"),
        (["predict", "--model", "model", "a.png", "--output", "o", "--all"], "--all"),
        (["predict", "--model", "model", "a.png", "--output", "o", "--probabilities"],
         "--project DIR"),
        (["predict", "--model", "model", "a.png", "--format", "png"], "--format"),
        (["predict", "nonexist.zarr", "--all"], "No such image or project"),
        (["fine-tune", "nonexist.zarr"], "No such image or project"),
        (["fine-tune", "a.png", "--regions", "regions.png", "b.png", "--output", "o"],
         "Which regions|belongs to no image"),
        (["fine-tune", "a.png", "--regions", "b.png", "a_regions.png", "--output", "o"],
         "belongs to no image"),
        (["fine-tune", "a.png", "--regions", "a.png", "b.png", "--output", "o"],
         "cannot be an image and a map"),
        (["predict", "--model", "model", "a.png", "--output", "o", "--max-rounds", "2"],
         "does not train"),
    ],
)  # fmt: skip
def test_options_without_effect_and_missing_things_are_named(here, capsys, words, match):
    before = sorted(here.iterdir())
    assert main(words) == 2
    err = capsys.readouterr().err
    assert any(part in err for part in match.split("|"))
    assert sorted(here.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_and_a_stack_among_pictures(here, tmp_path, capsys):
    odd = tmp_path / os.fsdecode(b"x\xff.png")
    odd.write_bytes((here / "a.png").read_bytes())
    np.save(tmp_path / "s.npy", np.stack([imageio.imread(here / "a.png")] * 2))
    assert predict(tmp_path / "o", odd, tmp_path / "s.npy", "--json") == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [path.rpartition("_")[2] for path in files] == ["prediction.png", "prediction.tif"]
    assert str(odd) in json.loads((tmp_path / "o" / "sources.json").read_text()).values()

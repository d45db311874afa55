"""The commands as they are typed, in processes of their own, with the real worker."""

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from napari_cas.cli import main, parser
from napari_cas.samples import list_samples
from napari_cas.store import Project

WAIT = 280


def run(*words, environment=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "napari_cas", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=WAIT,
        env={**os.environ, **(environment or {})},
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two images and a map of regions for the first."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate("ab"):
        image = np.random.default_rng(seed).normal(80, 12, (96, 128))
        image[:, 64:] += 80
        imageio.imwrite(folder / f"{name}.png", image.clip(0, 255).astype(np.uint8))
    regions = np.zeros((96, 128), np.uint8)
    regions[10:30, 5:40], regions[10:30, 80:120] = 1, 2
    imageio.imwrite(folder / "a_regions.png", regions)
    return folder


@pytest.fixture(scope="module")
def trained(pictures):
    """A project and a model made by `fine-tune` from files; the report it printed."""
    done = run(
        "fine-tune",
        pictures / "a.png",
        "--regions",
        pictures / "a_regions.png",
        "--project",
        pictures / "p.zarr",
        "--output",
        pictures / "model",
        "--max-rounds",
        2,
        "--channels",
        4,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fine_tuning_from_files_reports_and_saves(trained, pictures):
    told = trained["fine_tune"]
    assert 1 <= told["rounds"] <= 2
    assert told["channels"] == 4
    assert told["regions"] == 2
    assert told["rounds_before"] == 0
    assert told["images"] == {
        "a": {
            "axes": "yx",
            "shape": [96, 128],
            "type": "uint8",
            "channels": 1,
            "painted_planes": 1,
            "regions": 2,
            "painted_pixels": 20 * 35 + 20 * 40,
        }
    }
    assert 0 < told["seconds_to_first_prediction"] <= told["seconds"]
    record = json.loads((pictures / "model" / "model.json").read_text())
    assert record["config"]["model"]["channels"] == 4


def test_the_project_is_kept_and_described(trained, pictures, capsys):
    assert main(["info", str(pictures / "p.zarr"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"]["a"]["regions"] == 2
    assert told["checkpoint"] == trained["fine_tune"]["checkpoint"]


def test_predicting_other_files_with_the_model(trained, pictures, tmp_path):
    words = ("predict", "--model", pictures / "model", pictures / "b.png", "--output", tmp_path)
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    labels = imageio.imread(file)
    assert labels.shape == (96, 128)
    assert set(np.unique(labels)) <= {1, 2, 3, 4}
    left, right = (np.bincount(part.ravel()).argmax() for part in np.hsplit(labels, 2))
    assert left != right


def test_axes_are_said_where_files_do_not(trained, pictures, tmp_path, capsys):
    stack = np.random.default_rng(0).integers(0, 255, (3, 64, 80)).astype(np.uint8)
    np.save(tmp_path / "s.npy", stack)
    words = ["predict", "--model", pictures / "model", tmp_path / "s.npy", "--output", tmp_path]
    words = [*map(str, words), "--axes"]
    assert main([*words, "cyx"]) == 2
    assert "expected 1, got 3" in capsys.readouterr().err
    assert main([*words, "ab"]) == 2
    assert "--axes cannot be used: expected different letters" in capsys.readouterr().err
    assert main(["predict", str(pictures / "p.zarr"), "--axes", "cyx"]) == 2
    assert "how image files are read" in capsys.readouterr().err
    assert main([*words, "tyx"]) == 0
    with tifffile.TiffFile(tmp_path / "s_prediction.tif") as file:
        assert file.series[0].axes == "TYX"


def test_predicting_exporting_and_validating_a_project(trained, pictures, tmp_path, capsys):
    done = run("predict", pictures / "p.zarr", "--all", "--output", tmp_path, "--format", "tiff")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a_prediction.tif").is_file()
    target = str(tmp_path / "out.zarr")
    assert main(["export", str(pictures / "p.zarr"), target]) == 0
    assert main(["validate", target]) == 0
    assert f"{target}: valid" in capsys.readouterr().out
    assert main(["export", str(pictures / "p.zarr"), target]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["export", str(pictures / "p.zarr"), target, "--overwrite"]) == 0


def test_validating_what_is_no_ome_zarr_exits_with_1(tmp_path, capsys):
    (tmp_path / "no.zarr").mkdir()
    assert main(["validate", str(tmp_path / "no.zarr")]) == 1
    assert ": 1 problem\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["fine-tune", "nowhere.png", "--regions", "r.png", "--output", "m"], "No such image"),
        (["fine-tune", "a.png"], "--regions"),
        (["fine-tune", "a.png", "--regions", "a_regions.png"], "--output"),
        (["predict", "a.png"], "--model"),
        (["predict", "s3://bucket/p.zarr"], "A project must be in a folder"),
        (["predict", "s3://bucket/p.zarr", "--output", "o"], "--model and --output"),
        (["fine-tune", "https://host/p.zarr"], "A project must be in a folder"),
        (["fine-tune", "https://host/p.zarr", "--output", "m"], "learnt from with --regions"),
        (["predict", "a.png", "--model", "nothing", "--output", "o"], "model at nothing"),
        (["export", "nothing.zarr", "out.zarr"], "nothing.zarr"),
        (["info", "."], "zarr.json|project"),
        (["demo", "--sample", "none", "--headless"], "No such sample"),
        (["fine-tune", "a.png", "--regions", "a_regions.png", "--output", "m", "--alpha", "7"],
         "--alpha cannot be 7.0: expected less than or equal to 1."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_exits_with_2(pictures, monkeypatch, capsys, words, match):
    monkeypatch.chdir(pictures)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("napari-cas: ")
    assert any(part in err for part in match.split("|"))


@pytest.mark.parametrize(
    ("words", "what", "got"),
    [
        (["predict", "nonexist.zarr"], "No such image or project", "nonexist.zarr"),
        (["predict", "a.png", "--model", "m", "--output", "o", "--tile-size", "many"],
         "Argument --tile-size: invalid int value: 'many'", None),
        (["export", "only-one"], "The following arguments are required: OUTPUT", None),
        (["dance"], "Argument COMMAND: invalid choice: 'dance'", None),
        (["info", "nothing.zarr"], "is not a project", "no such directory"),
    ],
)  # fmt: skip
def test_with_json_an_error_is_an_object_on_stdout(pictures, monkeypatch, capsys, words, what, got):
    monkeypatch.chdir(pictures)
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert set(told) == {"error", "exit_code"}
    assert set(told["error"]) == {"what", "expected", "got", "todo"}
    assert what in told["error"]["what"]
    assert told["error"]["got"] == got
    assert told["exit_code"] == 2
    assert told["error"]["what"] in err
    assert main(words) == 2
    assert capsys.readouterr().out == ""


def examples():
    """Return every example of every help text: the command that shows it, and its words."""
    build = parser.build()
    (subparsers,) = (a for a in build._actions if isinstance(a, argparse._SubParsersAction))
    texts = [build.epilog, *(command.epilog for command in subparsers.choices.values())]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [re.split(r"\s{3,}", x)[0] for x in lines if x.startswith("napari-cas ")]


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_help_can_be_typed(line):
    arguments = parser.build().parse_args(shlex.split(line)[1:])
    sample = getattr(arguments, "sample", None)
    assert sample is None or sample in {sample.name for sample in list_samples()}


def test_the_help_has_examples_of_every_command():
    assert {line.split()[1] for line in examples()} == {
        "demo", "fine-tune", "predict", "export", "validate", "info",
    }  # fmt: skip


def test_one_region_only_exits_with_2(pictures, tmp_path, monkeypatch, capsys):
    regions = np.zeros((96, 128), np.uint8)
    regions[3:9, 3:9] = 1
    imageio.imwrite(tmp_path / "r.png", regions)
    words = ["fine-tune", pictures / "a.png", "--regions", tmp_path / "r.png", "--output", "m"]
    monkeypatch.chdir(tmp_path)
    assert main([str(word) for word in words]) == 2
    assert "takes two" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["r.png"]  # nothing to go on with


@pytest.mark.parametrize("words", [[], ["demo"], ["fine-tune"], ["predict"], ["export"]])
def test_help_teaches_with_examples(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "napari-cas" in out


def test_predicting_a_project_that_has_learnt_nothing_exits_with_2(tmp_path, capsys):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")
    assert main(["predict", str(tmp_path / "p.zarr")]) == 2
    assert "Nothing has been learnt" in capsys.readouterr().err


@pytest.fixture
def endless(pictures, tmp_path, request):
    """`fine-tune` of a network that will not converge, in a process group of its own."""
    words = ["fine-tune", pictures / "a.png", "--regions", pictures / "a_regions.png",
             "--project", tmp_path / "p.zarr", "--network", "lraspp_mobilenet_v3_large",
             "--weights", "none", "--crop-size", "64",
             "--max-rounds", "10000", "--round-seconds", "0.2",
             *getattr(request, "param", ())]  # fmt: skip
    # A file, not a pipe: nobody reads while the child runs, and a full pipe would stop it.
    with (tmp_path / "err.txt").open("w+") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_cas", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            start_new_session=True,
            # A suite in the background has Ctrl-C ignored, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            yield process, tmp_path
        finally:  # whatever the test found, neither the command nor its worker may stay
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait(WAIT)


def test_ctrl_c_ends_with_130_and_keeps_what_was_learnt(endless):
    process, folder = endless
    first = next((line for line in process.stdout if "step" in line), None)
    assert first is not None, (folder / "err.txt").read_text()
    os.killpg(process.pid, signal.SIGINT)
    # Ten thousand rounds would take half an hour and more: to end at all is to have heard the key.
    process.wait(WAIT / 2)
    err = (folder / "err.txt").read_text()
    assert process.returncode == 130, err
    assert "Interrupted" in err
    with Project.open(folder / "p.zarr") as opened:
        assert opened.get_state()["checkpoint"] in opened.models


@pytest.mark.parametrize("endless", [["--json"]], indirect=True)
def test_sigterm_ends_with_143_and_says_so_in_json(endless):
    process, folder = endless
    checkpoints = folder / "p.zarr" / "models"
    deadline = time.monotonic() + WAIT
    while not any(checkpoints.glob("*/model.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()  # as batch systems do: its worker is for the command to end
    process.wait(WAIT / 2)
    err = (folder / "err.txt").read_text()
    assert process.returncode == 143, err
    assert "Traceback" not in err
    told = json.loads(process.stdout.read())
    assert told["exit_code"] == 143
    assert "Terminated" in told["error"]["what"]
    with Project.open(folder / "p.zarr") as opened:  # nobody has it open
        assert opened.get_state()["checkpoint"] in opened.models


def test_sigterm_is_left_alone_where_somebody_else_handles_it(capsys):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        assert main(["demo", "--list"]) == 0
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
    assert main(["demo", "--list"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_too_little_to_learn_from_is_said_once(pictures, tmp_path, capsys):
    one = np.zeros((96, 128), np.uint8)
    one[10:30, 5:40] = 1
    imageio.imwrite(tmp_path / "a_regions.png", one)
    words = ["fine-tune", pictures / "a.png", "--regions", tmp_path / "a_regions.png"]
    assert main([*map(str, words), "--output", str(tmp_path / "model")]) == 2
    told = capsys.readouterr()
    assert told.out == f"{pictures / 'a.png'}: 1 region\n"
    assert told.err.count("Only one region is painted") == 1

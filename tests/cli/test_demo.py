"""The demo without a window: the whole job, from a shipped sample to a validated export."""

import json
import os
import subprocess
import sys

import imageio.v3 as imageio
import pytest

from napari_cas.cli import demo, main
from napari_cas.samples import list_samples, load_sample
from napari_cas.store import Project
from napari_cas.store.validate import validate


def headless(folder, *words):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-m", "napari_cas", "demo", "--output", str(folder), "--json", *words],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
        check=False,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are always there")
def test_without_a_display_it_does_the_whole_job(tmp_path):
    done = headless(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "There is no display" in done.stderr
    told = json.loads(done.stdout)
    sample = list_samples()[0]
    assert told["sample"] == sample.name
    assert told["adjusted_rand_index"] > 0.3
    assert told["problems"] == []
    assert validate(told["export"]) == []
    height, width = load_sample(sample.name).strokes.shape
    picture = imageio.imread(told["picture"])
    assert picture.shape[0] == height
    assert picture.shape[1] > 3 * width
    with Project.open(told["project"], mode="r") as project:
        assert project.images == (sample.name,)
        assert (project.image(sample.name).prediction[...] > 0).all()


def test_the_samples_are_listed(capsys):
    assert main(["demo", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(sample.name in out for sample in list_samples())


def test_no_folder_of_anybodys_is_written_into(tmp_path):
    wanted = tmp_path / "demo"
    assert demo.free_folder(wanted) == wanted
    assert demo.free_folder(wanted) == wanted  # still empty
    (wanted / "mine").touch()
    assert demo.free_folder(wanted) == tmp_path / "demo-2"


@pytest.mark.parametrize("display", ["", ":1"])
def test_a_window_needs_a_display(monkeypatch, display):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    assert (demo.why_no_window() is None) == bool(display)

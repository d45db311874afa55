"""Symbolic links in a project that lead elsewhere: named, never written through, the rest opens."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from napari_cas.cli import main
from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import worker
from napari_cas.errors import CASError, ProjectFormatError
from napari_cas.protocol import Box, RoundRequest, Tile, TilesRequest
from napari_cas.session import projects
from napari_cas.store import Project
from napari_cas.store.export import export
from napari_cas.store.validate import validate

from .hostile import within_memory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="making links takes rights on Windows")
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (300, 320)).astype(np.uint8)
STACK = RNG.integers(0, 255, (2, 60, 50)).astype(np.uint8)
CONFIG = Config(
    model=ModelSpec(channels=3, weights="none"), fit=FitConfig(max_rounds=1, round_seconds=600)
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project of a plane and a stack, painted, learnt and predicted with probabilities."""
    path = tmp_path_factory.mktemp("template") / "p.zarr"
    with Project.create(path) as project:
        project.add_image("plane", IMAGE, "yx")
        project.add_image("stack", STACK, "zyx")
        regions = project.image("plane").regions
        regions[5:40, 5:40], regions[260:290, 270:300] = 1, 2
        project.image("stack").regions[1, 5:20, 5:20] = 1
        project.set_state({"image": "plane"})
    checkpoint = train(path).checkpoint
    predict(path, checkpoint)
    return path


@pytest.fixture
def lured(template, tmp_path):
    """A copy of the project, and what moves a part of it out and puts a link in its place."""
    path = tmp_path / "p.zarr"
    shutil.copytree(template, path)

    def lure(part, target=None):
        place = path / part
        if target is None:
            target = tmp_path / "outside" / place.name
            target.parent.mkdir()
            place.rename(target)
        elif place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(target)
        return path

    yield lure
    worker.forget()


def train(path):
    view = Tile("plane", (), Box(0, 0, 300, 320))
    return worker.run_round(RoundRequest(str(path), CONFIG, view))


def predict(path, checkpoint):
    tiles = (Tile("plane", (), Box(0, 0, 300, 320)), Tile("stack", (1,), Box(0, 0, 60, 50)))
    request = TilesRequest(str(path), CONFIG, checkpoint, tiles, probabilities=True)
    return worker.run_tiles(request)


def outside(folder):
    """Return names and contents of all that is in a folder, links as what they say."""
    found = {}
    for place in folder.rglob("*"):
        if place.is_symlink():
            found[place] = place.readlink()
        else:
            found[place] = place.read_bytes() if place.is_file() else None
    return found


def use(path):
    """Do with a project what the viewer and the worker do, and return what was said."""
    told = []
    with projects.open_for_session(path, told.append) as opened:
        for name in opened.images:
            entry = opened.image(name)
            plane = next(entry.planes())
            entry.regions.painted_chunks()
            if entry.regions.writeable:
                entry.prediction_view[(*plane, slice(0, 9), slice(0, 9))] = 2
                entry.regions[(*plane, slice(0, 300), slice(0, 40))] = 3
                entry.regions[(*plane, slice(0, 9), slice(0, 9))] = 0
        if opened.mode == "r+":
            opened.flush()
            projects.remember(opened, None, "m", CONFIG, live=False)
            for model in opened.models[:1]:
                opened.delete_model(model)
        told += [text for text in opened.problems if text not in map(str, told)]
    try:
        predict(path, train(path).checkpoint)
    except CASError as error:
        told.append(error)
    return " ".join(map(str, told))


def first_fast(values, count):
    """Return parameters of which all but the first few are left to the slow suite."""
    return [*values[:count], *(pytest.param(v, marks=pytest.mark.slow) for v in values[count:])]


FOLDERS = [
    "images/plane",
    "images/plane/labels/regions/0/c/0",
    "images/plane/probabilities",
    "models",
    "images/plane/labels",
    "images/plane/labels/regions",
    "images/plane/labels/regions/0",
    "images/plane/labels/regions/0/c",
    "images/stack/labels/prediction/0/c/1",
    "images/stack/labels/regions/0/c/1/0",
    "images/stack/probabilities/c/0",
    "images",
]


@pytest.mark.parametrize("part", first_fast(FOLDERS, 4))
def test_nothing_is_written_through_a_link_to_a_folder(lured, tmp_path, part):
    path = lured(part)
    before = outside(tmp_path / "outside")
    assert before
    if part in ("models", "images"):
        with pytest.raises(ProjectFormatError, match=f"{part} is a symbolic link"):
            use(path)
        with pytest.raises(ProjectFormatError, match="symbolic link"):
            train(path)
        assert main(["info", str(path)]) == 2
    else:
        told = use(path)
        # Probabilities are made anew: they are nobody's work.
        assert "symbolic link" in told or "probabilities" in part, told
    assert outside(tmp_path / "outside") == before


def test_nothing_is_written_through_a_link_to_a_model(lured, tmp_path):
    with Project.open(lured("state.json", "nowhere"), mode="r") as project:
        (model,) = project.models
    path = lured(f"models/{model}")
    before = outside(tmp_path / "outside")
    told = use(path)
    assert f"{model} is a symbolic link; the model behind it is not used" in told
    with Project.open(path) as project:
        assert model not in project.models
        for act in (project.load_model, project.delete_model):
            with pytest.raises(ProjectFormatError, match="symbolic link"):
                act(model)
    assert outside(tmp_path / "outside") == before


FILES = [
    ".napari-cas.lock",
    "state.json",
    "images/plane/predicted.jsonl",
    "images/plane/labels/regions/0/c/0/0",
    "images/plane/labels/prediction/0/c/0/0",
]


@pytest.mark.parametrize("part", first_fast(FILES, 2))
def test_nothing_is_written_through_a_link_to_a_file(lured, tmp_path, part):
    path = lured(part)
    before = outside(tmp_path / "outside")
    assert any(before.values()) or part == ".napari-cas.lock"
    told = use(path)
    if part == ".napari-cas.lock":
        assert "read-only" in told
    assert outside(tmp_path / "outside") == before


@pytest.mark.slow
@pytest.mark.parametrize("part", ["images/plane", "images/plane/labels/regions/0/c", "images/new"])
@pytest.mark.parametrize("target", [".", "../..", "loop", "/etc", "nowhere"])
def test_loops_and_links_to_anywhere_are_named_and_the_rest_opens(lured, part, target):
    if target == "loop":
        target = part.rsplit("/", 1)[-1]
    path = lured(part, target)
    told = use(path)
    assert "symbolic link" in told or part == "images/new", told
    with Project.open(path) as project:
        assert "stack" in project.images
        assert project.image("stack").regions[1, 50, 30] == 0
        assert project.image("stack").regions[0, 10, 30] == 3


def test_what_is_painted_over_a_link_is_kept_in_the_project(lured, tmp_path):
    path = lured("images/plane/labels/regions/0/c/0")
    with Project.open(path) as project:
        (problem,) = project.problems
        assert "c/0 is a symbolic link" in problem
        entry = project.image("plane")
        assert not entry.regions[:256].any()  # what is behind the link is not looked at
        entry.regions[7:9, 7:9] = 5
        entry.flush()
    with Project.open(path) as project:
        assert project.problems == ()
        assert project.image("plane").regions.ids(())[5] == 4
    row = path / "images/plane/labels/regions/0/c"
    (aside,) = (p for p in row.iterdir() if p.is_symlink())
    assert aside.name.startswith("0.damaged")
    assert aside.resolve() == tmp_path / "outside" / "0"


def test_a_link_that_cannot_be_set_aside_refuses_the_stroke(lured, tmp_path, monkeypatch):
    path = lured("images/plane/labels/regions/0/c/0")
    before = outside(tmp_path / "outside")
    monkeypatch.setattr("napari_cas.store.chunks.ChunkFiles.set_aside", lambda *_: None)
    project = Project.open(path)
    entry = project.image("plane")
    entry.regions[7:9, 7:9] = 5
    with pytest.raises(CASError, match="symbolic link is in the way"):
        project.close()
    assert entry.regions.dirty  # still in memory
    assert outside(tmp_path / "outside") == before
    monkeypatch.undo()
    project.close()


def test_pixels_may_be_elsewhere_and_the_project_may_be_reached_through_a_link(lured, tmp_path):
    path = lured("images/plane/0")
    (tmp_path / "alias.zarr").symlink_to(path)
    with Project.open(tmp_path / "alias.zarr") as project:
        assert project.problems == ()
        assert np.array_equal(project.image("plane").read((), Box(0, 0, 300, 320))[0], IMAGE)
        export(project, tmp_path / "out.zarr", images=["plane"])
    assert not validate(tmp_path / "out.zarr")


DEVICES = [
    "images/plane/0/c/0/0",
    "images/plane/0/zarr.json",
    "images/plane/predicted.jsonl",
    "images/plane/zarr.json",
    "images/plane/labels/regions/0/zarr.json",
    "state.json",
    "models/m/model.json",
]


@pytest.mark.parametrize("part", first_fast(DEVICES, 2))
def test_devices_that_never_end_are_not_read(lured, part):
    (lured("state.json", "nowhere") / "models" / "m").mkdir()
    path = lured(part, "/dev/zero")
    with within_memory(1024):
        use(path)
        validate(path)
        with Project.open(path) as project:
            assert "stack" in project.images
            assert ("plane" in project.images) == (not part.endswith("zarr.json"))


@pytest.mark.parametrize("part", ["images/plane/0/c/0/0", "images/plane/0/zarr.json"])
def test_what_a_link_leads_to_is_not_exported(lured, tmp_path, part):
    path = lured(part)
    with Project.open(path) as project:
        assert np.array_equal(project.image("plane").read((), Box(0, 0, 300, 320))[0], IMAGE)
        with pytest.raises(ProjectFormatError, match="symbolic link"):
            export(project, tmp_path / "out.zarr", images=["plane"])
    assert not (tmp_path / "out.zarr").exists()

"""Any damage to a project's files: it is named, the rest opens, nothing outside changes."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.errors import CASError
from napari_cas.protocol import Box
from napari_cas.session import projects
from napari_cas.store import Project
from napari_cas.store.validate import validate

from .hostile import NAMES, examples, spoil_file, within_memory

EXAMPLES = [8, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with a project of three images, painted and predicted, and an image outside it."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("template")
    with Project.create(folder / "elsewhere.zarr") as other:
        other.add_image("far", rng.integers(0, 255, (2, 40, 30)).astype(np.uint8), "zyx")
    with Project.create(folder / "p.zarr") as project:
        project.add_image("own", rng.integers(0, 255, (60, 50, 3)).astype(np.uint8), "yxc")
        project.add_reference("referred", folder / "elsewhere.zarr" / "images" / "far")
        project.add_image("whole", rng.random((40, 40)), "yx")
        for name in ("own", "whole"):
            project.image(name).regions[3:9, 3:9] = 1
        project.set_state({"image": "own", "checkpoint": "m", "config": {"seed": 1}})
    with Project.open(folder / "p.zarr", "worker") as worker:
        worker.save_model("m", {"w": np.ones(3, np.float32)}, {"i": 1})
        worker.image("own").prediction[...] = 2
        worker.image("own").create_probabilities(2)[...] = 0.5
        worker.image("own").flush()
        worker.image("own").mark_predicted("m", [((), Box(0, 0, 60, 50))])
    return folder


def use(path, mode):
    """Do with a project what the program does with one."""
    messages = []
    project = projects.open_for_session(path, messages.append) if mode == "r+" else None
    with project or Project.open(path, mode) as opened:
        projects.restore(opened, messages.append)
        for name in opened.images:
            look_at(opened.image(name))
        for model in opened.models:
            opened.model_digest(model)
            with suppress(CASError):
                opened.load_model(model)
        if opened.mode == "r+":
            change(opened)
        assert all(str(problem) for problem in opened.problems)
        return opened.images


def look_at(entry):
    plane = next(entry.planes())
    box = Box(0, 0, *entry.plane_size).clip(64, 64)
    where = (*plane, *box.slices)
    with suppress(CASError):
        entry.read(plane, box)
    for array in (entry.regions, entry.prediction_view):
        assert array[where].shape == box.shape
        array.ids(plane) if hasattr(array, "ids") else None
    list(entry.regions.painted_chunks())
    if entry.probabilities is not None:
        assert entry.probabilities.shape[1:] == entry.label_shape
    entry.predicted_with("m")


def change(project):
    for name in project.images:
        entry = project.image(name)
        entry.regions[(*next(entry.planes()), slice(0, 2), slice(0, 2))] = 5
        assert entry.regions[(*next(entry.planes()), 0, 0)] == 5
        with suppress(CASError):
            entry.flush()
    with suppress(CASError):
        project.set_state({"image": "own"})
    with suppress(CASError):
        project.add_image("new", np.eye(9), "yx")


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("count", EXAMPLES)
def test_whatever_is_damaged_is_named_and_the_rest_opens(template, count):
    files = sorted(
        p.relative_to(template / "p.zarr")
        for p in (template / "p.zarr").rglob("*")
        if p.is_file() and "whole" not in p.parts
    )
    root, lock = Path("zarr.json"), Path(".napari-cas.lock")
    metadata = [f for f in files if f.suffix in (".json", ".jsonl", ".lock")]

    @examples(count)
    @given(st.data())
    def any_damage(data):
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "around"
            shutil.copytree(template, folder)
            outside = contents(folder / "elsewhere.zarr")
            damaged = data.draw(
                st.lists(
                    st.sampled_from(metadata) | st.sampled_from(files),
                    min_size=1,
                    max_size=3,
                    unique=True,
                )
            )
            for file in damaged:
                if (folder / "p.zarr" / file).is_file():
                    spoil_file(data, folder / "p.zarr" / file)
            with within_memory():
                validate(folder / "p.zarr")
                for mode in ("r", "r+", "worker"):
                    may_fail = root in damaged or lock in damaged or mode == "worker"
                    with suppress(CASError) if may_fail else nullcontext():
                        assert "whole" in use(folder / "p.zarr", mode)
            assert contents(folder / "elsewhere.zarr") == outside
            assert {p.name for p in folder.iterdir()} == {"p.zarr", "elsewhere.zarr"}
            assert [p.name for p in Path(made).iterdir()] == ["around"]

    any_damage()


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_names_of_other_places_are_refused_everywhere(tmp_path, name):
    with Project.create(tmp_path / "in" / "p.zarr") as project:
        project.add_image("a", np.eye(9), "yx")
        for act in (
            lambda: project.image(name),
            lambda: project.remove_image(name),
            lambda: project.load_model(name),
            lambda: project.save_model(name, {"w": np.ones(1)}, {}),
            lambda: project.delete_model(name),
        ):
            with pytest.raises(CASError):
                act()
        made = project.add_image(name, np.eye(9), "yx")
        assert made.folder.parent == project.path / "images"
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["p.zarr"]

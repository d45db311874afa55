"""A replaced directory is there, old or new, and what was deleted stays deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_cas.errors import StorageError
from napari_cas.store import Project
from napari_cas.store.files import temporary
from napari_cas.store.models import export_model, import_model
from napari_cas.store.replacing import find_directory, recover_directories, replace_directory


class CutShort(BaseException):
    """The process ends here."""


@pytest.fixture
def killed(monkeypatch):
    """Let nothing be tidied away, as if the process had been killed."""

    def kill():
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)

    yield kill
    monkeypatch.undo()


def test_an_image_called_old_does_not_come_back(tmp_path, killed, monkeypatch):
    path = tmp_path / "p.zarr"

    def end(*_):
        raise CutShort

    with Project.create(path) as project:
        project.add_image("x", np.eye(8), "yx")
        project.add_image("old-cells", np.eye(8), "yx")
        killed()
        project.remove_image("old-cells")
        with pytest.raises(CutShort):
            project.add_image("old-nuclei", np.eye(8), "yx", progress=end)
        monkeypatch.undo()
        assert len(list((path / "images").glob(".tmp-old-*"))) == 2
    with Project.open(path) as project:
        assert (project.images, project.problems) == (("x",), ())
    assert sorted(p.name for p in (path / "images").iterdir()) == ["x", "zarr.json"]


def test_a_model_called_old_does_not_come_back(tmp_path, killed, monkeypatch):
    with Project.create(tmp_path / "p.zarr") as project:
        project.save_model("old-m", {"w": np.ones(3)}, {})
        killed()
        project.delete_model("old-m")
        monkeypatch.undo()
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.models == ()


@pytest.mark.parametrize("name", ["m", "old-m", "m-1-2", "old", "m.aside", "old-m-1-2"])
def test_what_a_crash_left_aside_is_found_and_restored(tmp_path, name, monkeypatch):
    export_model(tmp_path / name, {"w": np.ones(2)}, {"i": 1})
    rename = Path.rename

    def once(path, target):
        monkeypatch.setattr(Path, "rename", end)
        return rename(path, target)

    def end(*_):
        raise CutShort

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(CutShort):
        replace_directory(tmp_path / "draft", tmp_path / name)
    monkeypatch.undo()
    assert not (tmp_path / name).exists()
    assert import_model(tmp_path / name)[1] == {"i": 1}
    recover_directories(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["m", "a-1", "old-m"])
def test_what_an_earlier_version_left_aside_is_restored(tmp_path, name):
    export_model(tmp_path / f".tmp-old-{name}", {"w": np.ones(2)}, {"i": 1})
    assert import_model(tmp_path / name)[1] == {"i": 1}
    recover_directories(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x", "old-x", "old-x-1-2", ".tmp-old-x", "x.aside", "old"])
def test_no_draft_is_taken_for_something_moved_aside(tmp_path, name):
    draft = temporary(tmp_path / name)
    draft.mkdir()
    recover_directories(tmp_path)
    assert draft.is_dir()  # somebody may be writing it
    recover_directories(tmp_path, age=-1)
    assert list(tmp_path.iterdir()) == []


def test_the_new_one_wins_over_what_was_left_aside(tmp_path):
    for name in ("m", ".tmp-m.aside", ".tmp-old-m"):
        (tmp_path / name).mkdir()
    assert find_directory(tmp_path / "m") == tmp_path / "m"
    recover_directories(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_replacement_that_is_refused_leaves_the_old_one_in_its_place(tmp_path, monkeypatch):
    export_model(tmp_path / "m", {"w": np.ones(2)}, {"i": 1})
    rename = Path.rename

    def refuse_drafts(path, target):
        if path.name[-1].isdigit():
            raise OSError("refused")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_drafts)
    with pytest.raises(StorageError):
        export_model(tmp_path / "m", {"w": np.zeros(2)}, {"i": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert import_model(tmp_path / "m")[1] == {"i": 1}

"""Projects open, keep, name what is broken and never leave their directory."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_cas.errors import (
    CASError,
    CheckpointError,
    ImageError,
    ProjectError,
    ProjectFormatError,
    ProjectLockedError,
    StorageError,
)
from napari_cas.protocol import Box
from napari_cas.store import Project
from napari_cas.store.export import export
from napari_cas.store.image import ImageEntry


def _edit(path, change):
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


def test_everything_is_there_after_reopening(project):
    path = project.path
    entry = project.image("cells")
    entry.regions[10:20, 10:20] = 1
    entry.prediction_view[0, 0] = 3
    project.set_state({"image": "cells", "checkpoint": None})
    project.save_model("first", {"w": np.arange(4, dtype=np.float32)}, {"seed": 3})
    project.close()
    with Project.open(path) as again:
        assert (again.images, again.models, again.problems) == (("cells",), ("first",), ())
        assert again.get_state() == {"image": "cells", "checkpoint": None}
        entry = again.image("cells")
        assert entry.regions.ids(()) == {1: 100}
        assert entry.prediction_view[0, 0] == 3
        tensors, record = again.load_model("first")
        np.testing.assert_array_equal(tensors["w"], [0, 1, 2, 3])
        assert record == {"seed": 3}


def test_any_zarr_reader_opens_a_project(project):
    project.image("cells").regions[:5, :5] = 2
    project.flush()
    root = zarr.open_group(str(project.path), mode="r")
    assert root["images/cells/0"].shape == (3, 300, 400)
    assert root["images/cells/labels/regions/0"][:5, :5].tolist() == [[2] * 5] * 5


@pytest.mark.parametrize("content", ["file", "directory"])
def test_create_refuses_what_is_there(tmp_path, content):
    path = tmp_path / "p"
    if content == "file":
        path.write_text("hello")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("hello")
    with pytest.raises(ProjectError, match="new or empty"):
        Project.create(path)


@pytest.mark.parametrize("at", ["project.make_group", "project.write_group", "locking._write"])
@pytest.mark.parametrize("there", [False, True])
def test_a_project_that_cannot_be_made_leaves_its_place_free(tmp_path, monkeypatch, at, there):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "p.zarr"
    if there:
        path.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(f"napari_cas.store.{at}", full)
        with pytest.raises((StorageError, OSError)):
            Project.create(path)
    if not at.startswith("locking"):  # which leaves an empty lock
        assert [*tmp_path.rglob("*")] == [path] * there
    Project.create(path).close()
    Project.open(path).close()


def test_a_discarded_project_goes_if_it_was_made_and_nothing_else_does(tmp_path, rng):
    made, empty, shared, there = (tmp_path / name for name in ("made", "empty", "shared", "there"))
    empty.mkdir()
    Project.create(there).close()
    for path in (made, empty, shared):
        project = Project.create(path)
        image = project.add_image("a", rng.random((50, 50)), "yx")
        project.set_state({"image": "a"})
        if path == shared:
            (path / "thesis.txt").write_text("hello")
        project.discard()
        project.discard()
        assert (project.closed, image.regions.writeable) == (True, False)
    project = Project.open(there)
    project.discard()
    Project.open(there).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "shared", "there"]
    assert [p.name for p in shared.iterdir()] == ["thesis.txt"]
    assert [*empty.iterdir()] == []


def test_open_says_what_is_no_project(tmp_path):
    with pytest.raises(ProjectFormatError, match="no such directory"):
        Project.open(tmp_path / "nowhere")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ProjectFormatError, match="got a file"):
        Project.open(tmp_path / "a.png")
    with pytest.raises(ProjectFormatError, match=r"no zarr\.json"):
        Project.open(tmp_path)
    with pytest.raises(ProjectFormatError, match="too long"):
        Project.open(tmp_path / ("a" * 300))
    zarr.create_group(str(tmp_path / "other"))
    with pytest.raises(ProjectFormatError, match="another Zarr group"):
        Project.open(tmp_path / "other")
    (tmp_path / "other" / "zarr.json").write_text("[1, 2")
    with pytest.raises(ProjectFormatError, match="JSON object"):
        Project.open(tmp_path / "other")
    with Project.create(tmp_path / "mine") as project, pytest.raises(ProjectError, match="mode"):
        Project.open(project.path, "w")


@pytest.mark.parametrize("version", [2, 0, "1", None, True])
def test_other_format_versions_are_refused(project, version):
    project.close()
    _edit(
        project.path / "zarr.json",
        lambda meta: meta["attributes"]["napari-cas"].update(format=version),
    )
    with pytest.raises(ProjectFormatError, match="format version"):
        Project.open(project.path)


def test_the_second_writer_is_told_who_has_it_and_may_read(project):
    with pytest.raises(ProjectLockedError, match=r"process \d+ on "):
        Project.open(project.path)
    reader = Project.open(project.path, "r")
    assert not reader.image("cells").regions.writeable
    with pytest.raises(ProjectError, match="not open for writing"):
        reader.add_image("more", np.eye(9), "yx")
    with pytest.raises(ProjectError, match="read-only"):
        reader.save_model("m", {}, {})
    project.close()
    Project.open(project.path).close()


def test_only_the_owner_of_each_array_may_write_it(project):
    entry = project.image("cells")
    worker = Project.open(project.path, "worker").image("cells")
    writeable = {
        name: (getattr(entry, name).writeable, getattr(worker, name).writeable)
        for name in ("regions", "corrections", "prediction")
    }
    assert writeable == {
        "regions": (True, False),
        "corrections": (True, False),
        "prediction": (False, True),
    }
    with pytest.raises(ProjectError):
        entry.prediction[0, 0] = 1
    with pytest.raises(ProjectError):
        entry.create_probabilities(4)
    with pytest.raises(ProjectError):
        entry.mark_predicted("m", [])


def test_a_worker_sees_images_added_later(project, rng):
    worker = Project.open(project.path, "worker")
    project.add_image("later", rng.random((50, 60)), "yx")
    assert worker.image("later").plane_size == (50, 60)
    with pytest.raises(ProjectError, match="No image 'never'"):
        worker.image("never")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../evil", "evil"),
        ("a/b\\c", "a_b_c"),
        ("cells [DAPI]", "cells [DAPI]"),
        ("...", "unnamed"),
        ("con", "x-con"),
        ("é" * 300, "é" * 60),
        ("nul\x00l", "nul_l"),
        ("\ud800", "unnamed"),
    ],
)
def test_names_stay_inside_the_project(tmp_path, name, stored):
    with Project.create(tmp_path / "deep" / "p.zarr") as project:
        entry = project.add_image(name, np.eye(20), "yx")
        assert entry.name == stored
        assert project.images == (stored,)
        assert entry.folder.parent == project.path / "images"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["deep"]
        with pytest.raises(ProjectError, match="already has"):
            project.add_image(stored.upper(), np.eye(20), "yx")


def test_a_copy_that_was_killed_halfway_is_removed_when_opened_again(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", np.eye(8), "yx")
    left = tmp_path / "p.zarr" / "images" / ".tmp-b-1-1"
    (left / "0").mkdir(parents=True)
    with Project.open(tmp_path / "p.zarr", mode="r"):
        assert left.exists()  # someone else may be writing it
    with Project.open(tmp_path / "p.zarr", mode="r+") as project:
        assert project.images == ("a",)
    assert not left.exists()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".", ".tmp-x", "/etc"])
def test_no_model_or_image_name_leads_outside(project, name):
    for action in (
        lambda: project.save_model(name, {"a": np.ones(1)}, {}),
        lambda: project.delete_model(name),
        lambda: project.load_model(name),
        lambda: project.image(name),
        lambda: project.remove_image(name),
    ):
        with pytest.raises(ProjectError):
            action()
    assert project.model_digest(name) == ""


def test_a_failed_add_leaves_nothing(project, rng):
    before = sorted(p.name for p in (project.path / "images").iterdir())

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.add_image("new", rng.random((2000, 2000)), "yx", progress=stop)
    bad = rng.random((50, 50))
    bad[3, 4:7] = np.inf
    with pytest.raises(ImageError, match="3 of 2500"):
        project.add_image("new", bad, "yx")
    assert sorted(p.name for p in (project.path / "images").iterdir()) == before
    assert project.images == ("cells",)
    project.add_image("new", rng.random((50, 50)), "yx")
    assert project.images == ("cells", "new")


def test_a_project_that_was_moved_is_not_made_anew_where_it_was(project, rng):
    """Names, models and images in a new folder of that name would be lost with it."""
    worker = Project.open(project.path, "worker")
    entry, image = project.image("cells"), worker.image("cells")
    export(project, project.path.with_name("x.zarr"))
    project.path.rename(project.path.with_name("moved.zarr"))
    for action in (
        lambda: project.set_names({1: "nucleus"}),
        lambda: project.set_state({"image": "cells"}),
        lambda: project.save_model("m", {"w": np.ones(3)}, {}),
        lambda: worker.save_model("m", {"w": np.ones(3)}, {}),
        lambda: project.add_image("b", rng.random((50, 50)), "yx"),
        lambda: project.add_reference("b", project.path.with_name("x.zarr")),
        lambda: project.remove_image("cells"),
        lambda: image.create_probabilities(2),
        lambda: image.mark_predicted("m", [((), Box(0, 0, 9, 9))]),
    ):
        with pytest.raises(StorageError):
            action()
    assert not project.path.exists()
    assert (project.images, project.naming.names) == (("cells",), {})
    project.path.with_name("moved.zarr").rename(project.path)
    entry.regions[:5, :5] = 1
    project.set_names({1: "nucleus"})
    project.close()
    with Project.open(project.path) as again:
        assert (again.images, again.naming.names) == (("cells",), {1: "nucleus"})


@pytest.mark.parametrize("part", ["images", "models"])
def test_a_part_of_a_project_that_is_missing_is_made(project, rng, part):
    shutil.rmtree(project.path / part)
    project.add_image("b", rng.random((50, 50)), "yx")
    project.save_model("m", {"w": np.ones(3)}, {})
    assert project.models == ("m",)
    assert project.image("b").plane_size == (50, 50)


def test_names_given_while_an_image_is_noted_are_kept(project, monkeypatch):
    """The list of images and the names are in one file, and a busy disk takes its time."""
    busy, real = threading.Event(), os.fsync

    def fsync(handle):
        if threading.current_thread() is not threading.main_thread():
            busy.set()
            time.sleep(0.3)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    copying = threading.Thread(target=project.add_image, args=("b", np.eye(50), "yx"))
    copying.start()
    assert busy.wait(30)
    project.set_names({1: "nucleus"})
    copying.join()
    project.close()
    with Project.open(project.path) as again:
        assert (again.images, again.naming.names) == (("cells", "b"), {1: "nucleus"})


def test_nobody_waits_for_pixels_that_are_copied(project, rng):
    begun, on = threading.Event(), threading.Event()

    def progress(done, total):
        begun.set()
        assert on.wait(30)

    pixels = rng.random((50, 50))
    options = {"progress": progress}
    copying = threading.Thread(target=project.add_image, args=("b", pixels, "yx"), kwargs=options)
    copying.start()
    assert begun.wait(30)
    project.image("cells").regions[:5, :5] = 1
    project.flush()
    project.set_names({1: "nucleus"})
    assert copying.is_alive()
    on.set()
    copying.join()
    assert project.images == ("cells", "b")


def test_an_image_may_come_while_strokes_are_written_and_damage_is_listed(project, monkeypatch):
    """A thread that copies adds it; here the same one, at the worst moment."""
    flush, problems = ImageEntry.flush, ImageEntry.problems.fget

    def come(then):
        def come_first(entry):
            if entry.name == "cells":
                project.add_image(f"more {len(project.images)}", np.eye(8), "yx")
            return then(entry)

        return come_first

    monkeypatch.setattr(ImageEntry, "flush", come(flush))
    monkeypatch.setattr(ImageEntry, "problems", property(come(problems)))
    project.flush()
    assert project.problems == ()
    assert project.images == ("cells", "more 1", "more 2")
    monkeypatch.undo()


def test_an_image_that_two_threads_open_at_once_is_one(project, monkeypatch):
    project.close()
    opened = []

    class Slow(ImageEntry):
        """The first one is opened once more before it is there."""

        def __init__(self, *args):
            super().__init__(*args)
            if not opened:
                opened.append(self)
                opened.append(again.image("cells"))

    with Project.open(project.path, "worker") as again:  # it opens images when asked for
        monkeypatch.setattr("napari_cas.store.project.ImageEntry", Slow)
        assert again.image("cells") is opened[1]
        assert again.image("cells") is opened[1]


def test_remove_image(project, rng):
    project.add_image("b", rng.random((50, 50)), "yx")
    entry = project.image("cells")
    project.remove_image("cells")
    assert project.images == ("b",)
    with pytest.raises(ProjectError):
        entry.regions[0, 0] = 1
    project.add_image("cells", rng.random((50, 50)), "yx")
    assert project.images == ("b", "cells")


DAMAGES = {
    "no metadata": lambda f: (f / "zarr.json").unlink(),
    "truncated metadata": lambda f: (f / "zarr.json").write_text('{"zarr_format"'),
    "foreign metadata": lambda f: (f / "zarr.json").write_text('{"zarr_format": 2}'),
    "binary metadata": lambda f: (f / "zarr.json").write_bytes(bytes(range(256))),
    "deep metadata": lambda f: (f / "zarr.json").write_text("[" * 100_000),
    "no pixels": lambda f: shutil.rmtree(f / "0"),
    "no labels": lambda f: shutil.rmtree(f / "labels" / "prediction"),
    "labels of another size": lambda f: _edit(
        f / "labels" / "regions" / "0" / "zarr.json", lambda m: m.update(shape=[5, 5])
    ),
    "labels of another type": lambda f: _edit(
        f / "labels" / "regions" / "0" / "zarr.json", lambda m: m.update(data_type="float64")
    ),
    "labels with huge chunks": lambda f: _edit(
        f / "labels" / "regions" / "0" / "zarr.json",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[1 << 20, 1 << 20]),
    ),
    "pixels with huge chunks": lambda f: _edit(
        f / "0" / "zarr.json",
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[1, 1 << 20, 1 << 20]),
    ),
    "path outside": lambda f: _edit(
        f / "zarr.json",
        lambda m: m["attributes"]["ome"]["multiscales"][0]["datasets"][0].update(path="../b/0"),
    ),
    "wrong axes": lambda f: _edit(
        f / "zarr.json",
        lambda m: m["attributes"]["ome"]["multiscales"][0]["axes"].pop(),
    ),
    "no intensity": lambda f: _edit(
        f / "zarr.json", lambda m: m["attributes"]["napari-cas"].clear()
    ),
    "foreign intensity": lambda f: _edit(
        f / "zarr.json", lambda m: m["attributes"]["napari-cas"].update(intensity=[1, 2])
    ),
    "reference that is gone": lambda f: _edit(
        f / "zarr.json",
        lambda m: m["attributes"]["napari-cas"].update(reference={"url": "/gone/x.zarr"}),
    ),
    "reference to what cannot be a file": lambda f: _edit(
        f / "zarr.json",
        lambda m: m["attributes"]["napari-cas"].update(reference={"url": "/" + "a" * 300}),
    ),
    "foreign reference": lambda f: _edit(
        f / "zarr.json", lambda m: m["attributes"]["napari-cas"].update(reference=3)
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_named_and_the_rest_opens(project, rng, damage):
    project.add_image("b", rng.random((50, 50)), "yx")
    project.image("b").regions[0, 0] = 1
    project.close()
    DAMAGES[damage](project.path / "images" / "cells")
    with Project.open(project.path) as again:
        assert again.images == ("b",)
        assert "'cells'" in again.problems[0]
        assert len(again.problems) == 1
        assert again.image("b").regions[0, 0] == 1
        with pytest.raises(CASError):
            again.image("cells")


def test_what_may_not_be_searched_is_damaged_and_the_rest_opens(project, rng, monkeypatch):
    """A colleague's folder that a reference or a link leads to, and one of the project's own."""
    folder = project.path / "images"
    for name in ("referring", "own"):
        project.add_image(name, rng.random((50, 50)), "yx")
    project.close()
    private = project.path.with_name("private")
    (private / "x").mkdir(parents=True)
    _edit(
        folder / "referring" / "zarr.json",
        lambda m: m["attributes"]["napari-cas"].update(reference={"url": str(private / "x")}),
    )
    (folder / "linked").symlink_to(private / "x", target_is_directory=True)
    _close_to_everybody(monkeypatch, private, folder / "linked", folder / "own")
    with Project.open(project.path) as again:
        assert again.images == ("cells",)
        assert {"referring", "own"} <= set(again.damaged)
        assert "'referring'" in "".join(again.problems)
        with pytest.raises(StorageError, match=r"out\.zarr"):
            export(again, private / "out.zarr")


def _close_to_everybody(monkeypatch, *folders):
    """Let the system refuse to look into folders, which it does not where tests run as root."""

    def refusing(look):
        def stat(path, *args, **options):
            if not isinstance(path, int) and {*folders} & {*Path(path).parents}:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return look(path, *args, **options)

        return stat

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


def test_damaged_lists_states_and_models_are_named(project):
    project.set_state({"a": 1})
    project.save_model("m", {"a": np.ones(2)}, {})
    project.close()
    _edit(
        project.path / "zarr.json",
        lambda m: m["attributes"]["napari-cas"].update(images=["../../etc", 5, "cells", "gone"]),
    )
    (project.path / "state.json").write_text("{")
    (project.path / "models" / "m" / "weights.safetensors").write_bytes(b"short")
    with Project.open(project.path) as again:
        assert again.images == ("cells",)
        assert again.get_state() == {}
        text = "\n".join(again.problems)
        assert all(word in text for word in ("../../etc", "5", "gone", "state.json"))
        with pytest.raises(CheckpointError, match="weights"):
            again.load_model("m")


def test_predicted_tiles_are_remembered_per_version_of_a_model(project):
    entry = project.image("cells")
    worker = Project.open(project.path, "worker")
    tiles = [((), Box(0, 0, 128, 128)), ((), Box(0, 128, 128, 256))]
    worker.save_model("m", {"a": np.ones(2)}, {})
    image = worker.image("cells")
    image.mark_predicted("m", tiles[:1])
    image.mark_predicted("m", tiles[1:])
    assert entry.predicted_with("m") == set(tiles)
    assert entry.predicted_with("other") == set()
    worker.save_model("m", {"a": np.zeros(2)}, {})  # the same name, other weights
    assert entry.predicted_with("m") == set()
    image.mark_predicted("m", tiles[:1])
    assert entry.predicted_with("m") == set(tiles[:1])
    path = image.folder / "predicted.jsonl"
    with path.open("a") as file:
        file.write("\n[[], [0, 0, 5")  # torn by a crash
    image.mark_predicted("m", tiles[1:])
    assert entry.predicted_with("m") == set(tiles)
    for damage in (b"\xff\x00", b"", b"{}\n[[], [1, 2, 3, 4]]"):
        path.write_bytes(damage)
        assert entry.predicted_with("m") == set()
    image.mark_predicted("m", tiles)
    assert entry.predicted_with("m") == set(tiles)


def test_tiles_without_probabilities_do_not_count_where_those_are_wanted(project):
    entry = project.image("cells")
    worker = Project.open(project.path, "worker")
    worker.save_model("m", {"a": np.ones(2)}, {})
    image, tiles = worker.image("cells"), [((), Box(0, 0, 9, 9)), ((), Box(0, 9, 9, 18))]
    image.mark_predicted("m", tiles)
    image.mark_predicted("m", tiles[1:], probabilities=True)
    assert entry.predicted_with("m") == set(tiles)
    assert entry.predicted_with("m", probabilities=True) == set()  # there is no array of them
    image.create_probabilities(2)
    assert entry.predicted_with("m", probabilities=True) == set(tiles[1:])


def test_tiles_made_with_other_settings_do_not_count(project):
    entry = project.image("cells")
    worker = Project.open(project.path, "worker")
    worker.save_model("m", {"a": np.ones(2)}, {})
    image, tiles = worker.image("cells"), [((), Box(0, 0, 9, 9)), ((), Box(0, 9, 9, 18))]
    image.mark_predicted("m", tiles)
    image.mark_predicted("m", tiles[1:], settings="follow_edges=False")
    assert entry.predicted_with("m") == set(tiles[:1])
    assert entry.predicted_with("m", settings="follow_edges=False") == set(tiles[1:])
    image.mark_predicted("m", tiles[1:], probabilities=True)
    assert entry.predicted_with("m") == set(tiles)
    assert entry.predicted_with("m", settings="follow_edges=False") == set()


def test_probabilities_are_made_on_demand(project):
    entry = project.image("cells")
    assert entry.probabilities is None
    worker = Project.open(project.path, "worker").image("cells")
    made = worker.create_probabilities(5)
    made[2, 10:20, 10:20] = 0.5
    assert entry.probabilities.shape == (5, 300, 400)
    assert entry.probabilities.dtype == np.float16
    assert float(entry.probabilities[2, 15, 15]) == 0.5
    assert worker.create_probabilities(5)[2, 15, 15] == 0.5
    assert worker.create_probabilities(3).shape == (3, 300, 400)


@pytest.mark.parametrize(
    "change", [{"shape": None}, {"data_type": "int8"}, {"node_type": "x"}, {"codecs": []}]
)
def test_damaged_probabilities_are_none_and_made_anew(project, change):
    worker = Project.open(project.path, "worker").image("cells")
    worker.create_probabilities(2)
    _edit(worker.folder / "probabilities" / "zarr.json", lambda m: m.update(change))
    assert project.image("cells").probabilities is None
    worker.create_probabilities(2)[0, 0, 0] = 0.5
    assert project.image("cells").probabilities[0, 0, 0] == 0.5


def test_numbers_beyond_any_float_are_damage_like_other(project):
    digits = "1" + "0" * 400
    entry = project.image("cells")
    project.close()
    tiles = entry.folder / "predicted.jsonl"
    tiles.write_text('{"model": "m", "sha256": ""}\n[[], [0, 0, 9, 1e999]]\n[[], [0, 0, 9, 9]]')
    with Project.open(project.path) as again:
        assert again.image("cells").predicted_with("m") == {((), (0, 0, 9, 9))}
    metadata = entry.folder / "zarr.json"
    text = metadata.read_text()
    for damaged in (_with(text, "low", digits), _with(text, "scale", digits)):
        metadata.write_text(damaged)
        with Project.open(project.path) as again:
            assert again.images == ()
            assert "'cells'" in again.problems[0]


def _with(text, key, number):
    """Return JSON text with the first number of a list replaced."""
    return re.sub(rf'("{key}": \[\s*)[\d.]+', rf"\g<1>{number}", text, count=1)


def test_closing_twice_and_painting_after_closing(project):
    entry = project.image("cells")
    entry.regions[0, 0] = 1
    project.close()
    project.close()
    with pytest.raises(ProjectError):
        entry.regions[0, 0] = 2
    with pytest.raises(ProjectError, match="closed"):
        project.set_state({})

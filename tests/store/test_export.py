"""Exports are read back by the readers other people use."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pytest
import zarr

from napari_cas.errors import InputError, ProjectError, StorageError
from napari_cas.store import Project
from napari_cas.store.colors import label_color
from napari_cas.store.export import export
from napari_cas.store.validate import validate


@pytest.fixture
def painted(tmp_path, rng):
    """A project with three images, painted, predicted and corrected."""
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image(
            "rgb",
            rng.integers(0, 255, (700, 1100, 3)).astype(np.uint8),
            "yxc",
            scale=(0.25, 0.5, 1),
            units=("um", "um", None),
        )
        project.add_image("stack", rng.random((2, 3, 60, 80)), "tzyx", scale=(1, 2, 0.1, 0.1))
        project.add_image("plain", rng.integers(0, 4000, (90, 100)).astype(np.uint16), "yx")
        rgb, stack = project.image("rgb"), project.image("stack")
        rgb.regions[100:200, 100:900] = 1
        rgb.regions[500:600, 300:400] = 30
        stack.regions[1, 2, 10:20, 10:20] = 4
        with Project.open(project.path, "worker") as worker:
            worker.image("rgb").prediction[...] = 2
            worker.image("rgb").prediction[:350] = 5
            worker.image("stack").prediction[1] = 1
            worker.flush()
        rgb.prediction_view[0:40, 0:40] = 7
        rgb.prediction_view[690:, 1090:] = 0
        yield project  # the strokes are not flushed: an export must have them all the same


def _ome_zarr_nodes(path):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    return {node.zarr.basename(): node for node in Reader(parse_url(str(path)))()}


def _napari_layers(path, capsys):
    from napari_ome_zarr import napari_get_reader

    layers = napari_get_reader(str(path))()
    capsys.readouterr()  # the reader prints
    return layers


def test_one_image_is_plain_ome_zarr_and_comes_back_through_ome_zarr(painted, tmp_path):
    out = export(painted, tmp_path / "out.zarr", images=["rgb"])
    assert validate(out) == []
    nodes = _ome_zarr_nodes(out)
    rgb = painted.image("rgb")
    image = nodes["out.zarr"]
    assert [a["name"] for a in image.metadata["axes"]] == ["c", "y", "x"]
    assert [a.get("unit") for a in image.metadata["axes"]] == [None, "micrometer", "micrometer"]
    assert image.metadata["coordinateTransformations"][0][0]["scale"] == [1, 0.25, 0.5]
    assert [d.shape for d in image.data] == [(3, 700, 1100), (3, 350, 550), (3, 175, 275)]
    for ours, theirs in zip(rgb.levels, image.data, strict=True):
        np.testing.assert_array_equal(ours[...], theirs.compute())
    np.testing.assert_array_equal(nodes["regions"].data[0].compute(), rgb.regions[...])
    np.testing.assert_array_equal(nodes["prediction"].data[0].compute(), rgb.prediction_view[...])
    assert nodes["prediction"].data[0][0, 0].compute() == 7
    assert nodes["prediction"].data[0][699, 1099].compute() == 0
    assert [d.shape for d in nodes["regions"].data] == [(700, 1100), (350, 550), (175, 275)]
    assert set(np.unique(nodes["regions"].data[2].compute())) == {0, 1, 30}
    for name, labels in (("regions", (1, 30)), ("prediction", (2, 5, 7))):
        colors = nodes[name].metadata["color"]
        assert {k: tuple(round(255 * v) for v in c) for k, c in colors.items()} == {
            label: label_color(label) for label in labels
        }


# napari-ome-zarr hands napari a table of colours without one for labels that do not occur.
@pytest.mark.filterwarnings("ignore:color_dict did not provide a default color:UserWarning")
def test_napari_ome_zarr_makes_layers_with_colours_and_scale(painted, tmp_path, capsys):
    from napari.layers import Image, Labels

    out = export(painted, tmp_path / "out.zarr", images=["rgb"])
    layers = _napari_layers(out, capsys)
    assert [kind for _, _, kind in layers] == ["image", "labels", "labels"]
    (pixels, options, _), *labels = layers
    assert options["name"] == ["rgb: red", "rgb: green", "rgb: blue"]
    for key in ("name", "visible", "colormap", "contrast_limits"):
        options[key] = options[key][0]
    channel = options.pop("channel_axis")
    layer = Image([np.take(level, 0, axis=channel) for level in pixels], **options)
    np.testing.assert_allclose(layer.scale, (0.25, 0.5))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    for (data, settings, _), name in zip(labels, ("regions", "prediction"), strict=True):
        label_layer = Labels(data, **settings)
        np.testing.assert_allclose(label_layer.scale, (0.25, 0.5))
        for label in np.unique(np.asarray(data[0])):
            got = np.round(255 * label_layer.get_color(int(label))) if label else np.zeros(4)
            np.testing.assert_array_equal(got, label_color(int(label)), err_msg=f"{name} {label}")


@pytest.mark.filterwarnings("ignore:color_dict did not provide a default color:UserWarning")
def test_napari_ome_zarr_gets_the_names_of_kinds(painted, tmp_path, capsys):
    labels = np.unique(np.asarray(painted.image("rgb").prediction_view[...]))
    painted.set_names({int(label): f"kind {label}" for label in labels if label})
    out = export(painted, tmp_path / "out.zarr", images=["rgb"])
    *_, (_, options, _) = _napari_layers(out, capsys)
    assert options["properties"] == {
        "index": [label for label in labels if label],
        "name": [f"kind {label}" for label in labels if label],
    }


def test_several_images_are_a_collection_that_opens_as_a_whole(painted, tmp_path, capsys):
    out = export(painted, tmp_path / "all.zarr")
    assert validate(out) == []
    layers = _napari_layers(out, capsys)
    assert [kind for _, _, kind in layers] == ["image", "labels", "labels"] * 3
    stack = next(data for data, options, _ in layers if options["name"] == "stack: intensity")
    np.testing.assert_array_equal(stack[0].compute(), painted.image("stack").levels[0][...])
    nodes = _ome_zarr_nodes(out / "1")
    np.testing.assert_array_equal(
        nodes["regions"].data[0].compute(), painted.image("stack").regions[...]
    )
    import ome_zarr_models.v05.bioformats2raw as models

    collection = models.BioFormats2Raw.from_zarr(zarr.open_group(str(out), mode="r"))
    assert collection.image_paths == ["0", "1", "2"]


def test_labels_alone_become_a_labels_group(painted, tmp_path):
    out = export(painted, tmp_path / "labels.zarr", images=["rgb"], include=["prediction"])
    assert validate(out) == []
    nodes = _ome_zarr_nodes(out)
    np.testing.assert_array_equal(
        nodes["prediction"].data[0].compute(), painted.image("rgb").prediction_view[...]
    )


def test_images_alone_have_no_labels(painted, tmp_path):
    out = export(painted, tmp_path / "images.zarr", images=["plain"], include=["images"])
    assert validate(out) == []
    assert not (out / "labels").exists()


def test_a_reference_is_exported_with_pixels_and_pyramid(tmp_path, rng, write_v04):
    with Project.create(tmp_path / "p.zarr") as project:
        data = rng.integers(0, 60_000, (2, 600, 520)).astype(np.uint16)
        project.add_reference("far", write_v04(tmp_path / "far.zarr", data, "cyx"))
        project.image("far").regions[10:20, 10:20] = 1
        out = export(project, tmp_path / "out.zarr")
        assert validate(out) == []
        nodes = _ome_zarr_nodes(out)
        np.testing.assert_array_equal(nodes["out.zarr"].data[0].compute(), data)
        assert nodes["out.zarr"].data[1].shape == (2, 300, 260)
        assert nodes["regions"].data[0].compute().sum() == 100


def test_progress_counts_up_to_the_total(painted, tmp_path):
    seen = []
    export(painted, tmp_path / "out.zarr", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]


def test_cancelling_leaves_nothing_behind(painted, tmp_path):
    calls = iter([False] * 5 + [True] * 100)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert export(painted, tmp_path / "out.zarr", cancelled=lambda: next(calls)) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_error_on_the_way_leaves_nothing_behind(painted, tmp_path):
    def fail(done, total):
        if done == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(ProjectError, match=r"No space left.*Free some space and try again"):
        export(painted, tmp_path / "out.zarr", progress=fail)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_existing_export_is_kept_unless_asked(painted, tmp_path):
    out = export(painted, tmp_path / "out.zarr", images=["plain"])
    with pytest.raises(ProjectError, match="exists already"):
        export(painted, out, images=["rgb"])
    assert zarr.open_array(str(out / "0"), mode="r").shape == (90, 100)
    export(painted, out, images=["rgb"], overwrite=True)
    assert zarr.open_array(str(out / "0"), mode="r").shape == (3, 700, 1100)


def test_only_an_export_is_replaced(painted, tmp_path):
    (tmp_path / "empty").mkdir()
    export(painted, tmp_path / "empty", images=["plain"], overwrite=True)
    export(painted, tmp_path / "many.zarr")
    export(painted, tmp_path / "many.zarr", overwrite=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    mixed = export(painted, tmp_path / "mixed.zarr", images=["plain"])
    (mixed / "notes.txt").write_text("days")
    (tmp_path / "file").write_text("x")
    for target in (precious, mixed, tmp_path / "file"):
        with pytest.raises(ProjectError, match="is not replaced"):
            export(painted, target, images=["plain"], overwrite=True)
    assert (precious / "thesis.txt").exists()
    assert (mixed / "notes.txt").exists()


@pytest.mark.parametrize("options", [{"images": []}, {"include": []}, {"include": ["pixels"]}])
def test_refuses_to_export_nothing(painted, tmp_path, options):
    with pytest.raises(InputError, match="Nothing to export"):
        export(painted, tmp_path / "out.zarr", **options)


def test_refuses_a_url_and_names_a_file_in_the_way(painted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="A data set must be in a folder of a file system"):
        export(painted, "s3://there/cells.ome.zarr")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="file is a file, not a folder"):
        export(painted, tmp_path / "file" / "cells.ome.zarr")
    assert {p.name for p in tmp_path.iterdir()} == {"p.zarr", "file"}


def test_refuses_to_write_into_the_project(painted):
    with pytest.raises(ProjectError, match="outside the project"):
        export(painted, painted.path / "out.zarr")


def test_validate_accepts_a_project_and_names_what_is_wrong(painted, tmp_path):
    painted.flush()
    assert validate(painted.path) == []
    out = export(painted, tmp_path / "out.zarr", images=["rgb"])
    cases = {
        "axes": lambda ome: ome["multiscales"][0]["axes"].reverse(),
        "version": lambda ome: ome.update(version="0.9"),
        "datasets": lambda ome: ome["multiscales"][0]["datasets"].pop(0),
        "gone": lambda ome: ome["multiscales"][0]["datasets"][0].update(path="gone"),
    }
    path = out / "zarr.json"
    good = path.read_text()
    for word, damage in cases.items():
        meta = json.loads(good)
        damage(meta["attributes"]["ome"])
        path.write_text(json.dumps(meta))
        problems = validate(out)
        assert problems, word
    path.write_text(good)
    label = out / "labels" / "regions" / "zarr.json"
    meta = json.loads(label.read_text())
    colors = meta["attributes"]["ome"]["image-label"]["colors"]
    colors.append(colors[0])
    label.write_text(json.dumps(meta))
    assert "regions" in validate(out)[0].path
    meta["attributes"]["ome"]["multiscales"][0]["datasets"].pop()
    colors.pop()
    label.write_text(json.dumps(meta))
    assert "expected 3 levels, got 2" in str(validate(out)[0])


def test_validate_names_what_is_damaged_and_checks_the_rest(painted):
    painted.flush()
    path = painted.path / "images"
    first, second = sorted(p.name for p in path.iterdir() if p.is_dir())[:2]
    (path / first / "zarr.json").write_bytes(b'\x00\n "z')
    (path / second / "labels" / "regions" / "zarr.json").write_text("null")
    found = {problem.path for problem in validate(painted.path)}
    assert {f"images/{first}", f"images/{second}/labels/regions"} <= found
    shutil.rmtree(path / second / "labels")
    assert f"images/{first}" in {problem.path for problem in validate(painted.path)}


def test_validate_says_when_it_is_no_zarr(tmp_path):
    assert str(validate(tmp_path / "nothing")[0]) == ".: expected a Zarr group, got no such folder."
    zarr.create_array(str(tmp_path / "array"), shape=(2, 2), dtype="u1")
    assert "got a Zarr array" in str(validate(tmp_path / "array")[0])
    (tmp_path / "file").touch()
    assert "got a file" in str(validate(tmp_path / "file")[0])
    zarr.create_group(str(tmp_path / "empty"))
    assert "no OME-Zarr metadata" in str(validate(tmp_path / "empty")[0])

"""Names of kinds: what they do to a prediction, on disk, in exports."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_cas.errors import InputError, ProjectError, StorageError
from napari_cas.store import Project
from napari_cas.store.colors import label_color
from napari_cas.store.export import export
from napari_cas.store.naming import LONGEST, Naming
from napari_cas.store.validate import validate

LABELS = np.array([[1, 2, 3], [2, 3, 0]], np.uint8)


@pytest.fixture
def predicted(project):
    """The project's image with a prediction of labels 1 to 3 in columns."""
    with Project.open(project.path, mode="worker") as worker:
        labels = worker.image("cells").prediction
        labels[...] = np.broadcast_to(np.arange(400) * 3 // 400 + 1, (300, 400))
        labels.flush()
    return project.image("cells")


def test_labels_of_one_name_are_shown_as_the_lowest():
    naming = Naming()
    assert naming.shown(LABELS) is LABELS
    naming.set({3: "ground", 1: "tree"})
    assert naming.shown(LABELS) is LABELS
    naming.set({3: "ground", 1: " ground\n"})
    assert naming.names == {1: "ground", 3: "ground"}
    assert naming.shown(LABELS).tolist() == [[1, 2, 1], [2, 1, 0]]
    assert [naming.one(label) for label in (1, 2, 3, 0, 255, 256, -1)] == [1, 2, 1, 0, 255, 256, -1]
    naming.set({3: "", 1: "ground"})
    assert (naming.names, naming.shown(LABELS) is LABELS) == ({1: "ground"}, True)


@pytest.mark.parametrize(
    ("names", "match"),
    [({0: "a"}, "1 to 254"), ({255: "a"}, "255"), ({1: "x" * (LONGEST + 1)}, "64 printable")],
)
def test_what_cannot_be_a_name_is_refused_and_changes_nothing(names, match):
    naming = Naming({"2": "kept"})
    with pytest.raises(InputError, match=match):
        naming.set({5: "new", **names})
    assert naming.names == {2: "kept"}


@pytest.mark.parametrize(
    "found",
    [None, [], "text", {"1": "a\x00b", "x": "b", "300": "c", "-1": "d", "4": "e" * 99}],
)
def test_a_damaged_list_of_names_is_left_out(found):
    assert Naming(found).names == {}


def test_names_are_in_the_project_and_its_other_images(project):
    project.set_names({2: "nucleus"})
    project.add_image("more", np.arange(64).reshape(8, 8), "yx")
    with Project.open(project.path, mode="r") as other:
        assert other.naming.names == {2: "nucleus"}
        assert other.image("more").naming is other.naming
        with pytest.raises(ProjectError, match="not open for writing"):
            other.set_names({})
    project.set_names({})
    own = json.loads((project.path / "zarr.json").read_text())["attributes"]["napari-cas"]
    assert own == {"format": 1, "images": ["cells", "more"]}


def test_a_disk_that_refuses_keeps_the_names_as_they_were(project, monkeypatch):
    project.set_names({1: "kept"})

    def full(*_args, **_options):
        raise StorageError("The disk is full")

    monkeypatch.setattr("napari_cas.store.root.write_group", full)
    with pytest.raises(StorageError):
        project.set_names({1: "lost"})
    assert project.naming.names == {1: "kept"}


@pytest.mark.parametrize("names", [["a", "b"], None, {1: 2}, {"1": "a"}, {None: "a"}])
def test_what_are_no_names_is_refused(names):
    with pytest.raises(InputError, match="dictionary such as"):
        Naming().set(names)


def test_a_prediction_is_seen_painted_and_stored_through_its_names(project, predicted):
    view = predicted.prediction_view
    project.set_names({1: "ground", 3: "ground"})
    assert np.unique(np.asarray(view[...])).tolist() == [1, 2]
    assert view[np.array([5]), np.array([399])].tolist() == [1]
    # What is painted as it is shown is no correction; another kind is.
    view[0, 390:400] = 1
    assert not np.asarray(predicted.corrections[...]).any()
    view[0, 390:400] = 2
    assert np.asarray(predicted.corrections[0, 390:400]).tolist() == [3] * 10
    view[np.zeros(10, int), np.arange(390, 400)] = 1
    assert not np.asarray(predicted.corrections[...]).any()
    assert np.asarray(predicted.prediction[0, 399]) == 3
    project.set_names({1: "ground"})
    assert view[5, 399] == 3


def test_an_export_has_names_and_one_label_for_each(project, predicted, tmp_path):
    project.set_names({1: "ground", 2: "tree", 3: "ground", 7: "never seen"})
    target = export(project, tmp_path / "out.zarr")
    labels = zarr.open_group(target / "labels" / "prediction", mode="r")
    assert np.unique(labels["0"][...]).tolist() == [1, 2]
    found = labels.attrs["ome"]["image-label"]
    assert found["properties"] == [
        {"label-value": 1, "name": "ground"},
        {"label-value": 2, "name": "tree"},
    ]
    assert [c["rgba"] for c in found["colors"]] == [list(label_color(1)), list(label_color(2))]
    regions = zarr.open_group(target / "labels" / "regions", mode="r")
    assert "properties" not in regions.attrs["ome"]["image-label"]
    assert validate(target) == []


def test_an_export_is_valid_where_only_some_kinds_have_names(project, predicted, tmp_path):
    project.set_names({2: "tree", 7: "never seen"})
    target = export(project, tmp_path / "out.zarr")
    found = zarr.open_group(target / "labels" / "prediction", mode="r").attrs["ome"]["image-label"]
    assert found["properties"] == [
        {"label-value": 1},
        {"label-value": 2, "name": "tree"},
        {"label-value": 3},
    ]
    assert validate(target) == []
    project.set_names({7: "never seen"})
    target = export(project, tmp_path / "nameless.zarr")
    found = zarr.open_group(target / "labels" / "prediction", mode="r").attrs["ome"]["image-label"]
    assert "properties" not in found

"""Objects are the same whether found in one go or block by block."""

import gc
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from napari_cas.errors import InputError, StorageError
from napari_cas.session import objects
from napari_cas.session.objects import split
from napari_cas.store import LabelArray, Project
from napari_cas.store.naming import Naming


def blobs(shape, seed=0):
    """Return labels 0 to 3 in connected blobs of many sizes."""
    noise = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return np.digitize(smooth, np.quantile(smooth, [0.4, 0.6, 0.8])).astype(np.uint8)


class Named(np.ndarray):
    """Labels in memory, none of which has a name."""

    naming = Naming()

    def as_named_now(self):
        return self


def image_of(labels, axes=""):
    """Return what `split` looks at of an image with this prediction."""
    axes = axes or "zyx"[-labels.ndim :]
    return SimpleNamespace(prediction_view=labels.view(Named), label_axes=axes)


def one_by_one(labels, min_size):
    """Find objects by the plain definition, label by label, in memory."""
    found = []
    for value in np.unique(labels[labels > 0]):
        pieces, number = ndimage.label(labels == value)
        found += [pieces == i for i in range(1, number + 1)]
    return [mask for mask in found if mask.sum() >= min_size]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Have temporary files written to a folder of the test's own, even the smallest result."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(objects, "HELD_BYTES", 0)
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.mark.parametrize("shape", [(60, 70), (9, 40, 50)])
@pytest.mark.parametrize("block", [1, 500, 1 << 24])
@pytest.mark.parametrize("min_size", [0, 12])
def test_blocks_of_any_size_give_the_same_objects(monkeypatch, shape, block, min_size):
    monkeypatch.setattr(objects, "BLOCK_PIXELS", block)
    monkeypatch.setattr(objects, "_SIDE", 16)
    labels = blobs(shape)[..., :9] if block == 1 else blobs(shape)
    truth = one_by_one(labels, min_size)
    result = split(image_of(labels), min_size)
    found = result.labels
    assert result.count == found.max() == len(truth) > 3
    assert len(np.unique(found[found > 0])) == len(truth)
    for mask in truth:
        assert len(np.unique(found[mask])) == 1
        assert (found == found[mask][0]).sum() == mask.sum()
    # In order of label.
    first = [int(labels[found == i][0]) for i in range(1, found.max() + 1)]
    assert first == sorted(first)


def test_in_one_block_places_are_in_order():
    labels = np.zeros((20, 40), np.uint8)
    labels[2:8, 2:8] = labels[2:8, 20:30] = 2
    labels[12:18, 2:8] = 1
    found = split(image_of(labels), 1).labels
    assert [found[13, 3], found[3, 3], found[3, 25]] == [1, 2, 3]


@pytest.mark.parametrize("on_disk", [False, True])
def test_depth_joins_time_does_not_and_large_results_are_on_disk(
    tmp_path, monkeypatch, request, on_disk
):
    if on_disk:
        request.getfixturevalue("temporary")
    monkeypatch.setattr(objects, "BLOCK_PIXELS", 3000)
    image = np.random.default_rng(0).integers(0, 255, (2, 4, 80, 90)).astype(np.uint8)
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", image, "tzyx")
    labels = np.zeros(image.shape, np.uint8)
    labels[:, :, 10:70, 20:60] = 3  # one object at each time, through all depths and blocks
    labels[0, 2, 75:78, 80:85] = 3  # too small
    with Project.open(tmp_path / "p.zarr", mode="worker") as project:
        project.image("a").prediction[...] = labels
        project.image("a").flush()
    steps = []
    with Project.open(tmp_path / "p.zarr", mode="r") as project:
        result = split(project.image("a"), progress=lambda *step: steps.append(step))
    assert isinstance(result.labels, LabelArray) == on_disk
    found = np.asarray(result.labels)
    for t in (0, 1):
        assert np.array_equal(found[t], np.where(labels[t] * (found[t] > 0), t + 1, 0))
        assert (found[t, :, 10:70, 20:60] == t + 1).all()
    assert not found[0, 2, 75:78, 80:85].any()
    assert found.dtype == np.int32
    assert result.count == 2
    assert steps == [(i, len(steps)) for i in range(1, len(steps) + 1)]


@pytest.mark.parametrize("label", [None, 2])
@pytest.mark.parametrize("names", [{1: "a", 2: "a"}, {}])
def test_names_given_meanwhile_change_nothing(tmp_path, monkeypatch, names, label):
    monkeypatch.setattr(objects, "_SIDE", 16)
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", np.arange(1600, dtype=np.uint16).reshape(40, 40), "yx")
        project.set_names({1: "a", 2: "b"} if names else {1: "a", 2: "a"})
    with Project.open(tmp_path / "p.zarr", mode="worker") as project:
        stripes = (1 + np.arange(40)[:, None] // 5 % 2).astype(np.uint8)
        project.image("a").prediction[...] = np.broadcast_to(stripes, (40, 40))
        project.image("a").prediction.flush()
    with Project.open(tmp_path / "p.zarr") as project:
        entry = project.image("a")
        expected = split(entry, label=label)
        renamed = split(entry, label=label, progress=lambda *_: project.naming.set(names))
        assert renamed.count == expected.count
        assert np.array_equal(renamed.labels, expected.labels)
        assert split(entry, label=label).count != expected.count


def test_nothing_predicted_is_no_object():
    for chosen in ({}, {"label": 2}):
        empty = split(image_of(np.zeros((5, 6), np.uint8)), **chosen)
        assert not empty.labels.any()
        assert empty.count == 0
    assert split(image_of(np.ones((5, 6), np.uint8)), label=2).count == 0
    with pytest.raises(InputError, match="smallest object"):
        split(image_of(np.ones((5, 6), np.uint8)), -1)


def test_temporary_files_hold_what_is_not_empty_and_go_with_the_array(temporary):
    labels = np.zeros((3, 300, 600), np.uint8)
    labels[1, 10:40, 300:330] = 1
    result = split(image_of(labels))
    chunks = [p for p in temporary.rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert len(chunks) == 1
    assert np.array_equal(np.asarray(result.labels), labels)
    del result
    gc.collect()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("block", [300, 1 << 22])
def test_huge_planes_come_with_coarser_levels(monkeypatch, temporary, block):
    monkeypatch.setattr(objects, "WHOLE_LIMIT", 50)
    monkeypatch.setattr(objects, "_COARSEST", 20)
    monkeypatch.setattr(objects, "BLOCK_PIXELS", block)
    result = split(image_of(blobs((3, 61, 90))), 1)
    whole = np.asarray(result.labels)
    assert [level.shape for level in result.coarser] == [(3, 31, 45), (3, 16, 23), (3, 8, 12)]
    for power, level in enumerate(result.coarser, 1):
        assert np.array_equal(np.asarray(level), whole[:, :: 2**power, :: 2**power])


def test_a_disk_that_is_full_is_said_and_nothing_stays(temporary, monkeypatch):
    def full(self, key, block, *, durable=False):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_cas.store.chunks.ChunkFiles.write", full)
    with pytest.raises(StorageError, match="No space left"):
        split(image_of(np.ones((2, 600, 600), np.uint8)))
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_folder_for_temporary_files_that_is_missing_is_said(temporary):
    Path(temporary).rmdir()
    with pytest.raises(StorageError):
        split(image_of(np.ones((30, 30), np.uint8)))

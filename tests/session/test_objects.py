"""Objects are the same whether found in one go or block by block."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cas.session import objects
from napari_cas.session.objects import components, split
from napari_cas.store import Project


def blobs(shape, seed=0):
    """Return labels 0 to 3 in connected blobs of many sizes."""
    noise = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return np.digitize(smooth, np.quantile(smooth, [0.4, 0.6, 0.8])).astype(np.uint8)


def one_by_one(labels, min_size):
    """Find objects by the plain definition, label by label, in memory."""
    found = []
    for value in np.unique(labels[labels > 0]):
        pieces, number = ndimage.label(labels == value)
        found += [pieces == i for i in range(1, number + 1)]
    return [mask for mask in found if mask.sum() >= min_size]


@pytest.mark.parametrize("shape", [(60, 70), (9, 40, 50)])
@pytest.mark.parametrize("block", [1, 500, 1 << 24])
@pytest.mark.parametrize("min_size", [0, 12])
def test_blocks_of_any_size_give_the_same_objects(monkeypatch, shape, block, min_size):
    monkeypatch.setattr(objects, "BLOCK_PIXELS", block)
    monkeypatch.setattr(objects, "_SIDE", 16)
    labels = blobs(shape)[..., :9] if block == 1 else blobs(shape)
    truth = one_by_one(labels, min_size)
    found = components(labels, min_size)
    assert found.max() == len(truth) > 3
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
    found = components(labels, 1)
    assert [found[13, 3], found[3, 3], found[3, 25]] == [1, 2, 3]


@pytest.mark.parametrize("held", [0, 1 << 28])
def test_depth_joins_time_does_not_and_large_results_are_on_disk(tmp_path, monkeypatch, held):
    monkeypatch.setattr(objects, "HELD_BYTES", held)
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
    with Project.open(tmp_path / "p.zarr", mode="r") as project:
        found = split(project.image("a"))
    assert isinstance(found, np.memmap) == (held == 0)
    for t in (0, 1):
        assert np.array_equal(np.asarray(found[t]), np.where(labels[t] * (found[t] > 0), t + 1, 0))
        assert (found[t, :, 10:70, 20:60] == t + 1).all()
    assert not found[0, 2, 75:78, 80:85].any()
    assert found.dtype == np.int32


def test_nothing_predicted_is_no_object():
    assert not components(np.zeros((5, 6), np.uint8)).any()
    assert not components(np.ones((5, 6), np.uint8), label=2).any()

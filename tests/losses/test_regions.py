import numpy as np
import pytest
import torch

from napari_cas.errors import InputError
from napari_cas.losses import index_regions


def test_numbers_regions_plane_by_plane_by_rising_id():
    found = index_regions(torch.tensor([[7, 7, 0, 3], [3, 3, 0, 0], [0, 0, 0, 0], [9, 1, 0, 4]]))
    assert found.index.tolist() == [[1, 1, -1, 0], [2, 2, -1, -1], [-1] * 4, [5, 3, -1, 4]]
    assert found.plane.tolist() == [0, 0, 1, 2, 2, 2]
    assert found.count.tolist() == [1, 2, 2, 1, 1, 1]
    assert found.rank.tolist() == [0, 1, 0, 0, 1, 2]
    assert found.ids.tolist() == [3, 7, 3, 1, 4, 9]
    assert found.per_plane.tolist() == [2, 1, 3]
    assert (found.n_planes, found.widest) == (3, 3)


@pytest.mark.parametrize("planes", [torch.tensor([-4, 9, -4]), torch.tensor([[-4], [9], [-4]])])
def test_crops_of_one_plane_share_regions(planes):
    regions = torch.tensor([[1, 2], [1, 2], [2, 2]])
    if planes.ndim == 2:
        planes = planes.expand(3, 2)
    found = index_regions(regions, planes)
    assert found.index.tolist() == [[0, 1], [2, 3], [1, 1]]
    assert found.count.tolist() == [1, 3, 1, 1]


def test_huge_sparse_ids_are_sorted_instead_of_tabled():
    ids = torch.tensor([[0, 2**31 - 1, 5, 2**31 - 1], [2**40, 0, 0, 5]])
    found = index_regions(ids)
    assert found.index.tolist() == [[-1, 1, 0, 1], [3, -1, -1, 2]]
    assert found.ids.tolist() == [5, 2**31 - 1, 5, 2**40]
    assert found.count.tolist() == [1, 2, 1, 1]


@pytest.mark.parametrize("big", [2**62 + 5, 2**63 - 1])
@pytest.mark.parametrize("planes", [None, torch.tensor([-(2**62), 2**62])])
def test_ids_and_planes_whose_product_would_overflow(big, planes):
    ids = torch.tensor([[1, big, 0, 7], [big, big, 1, 0]])
    found = index_regions(ids, planes)
    same = index_regions(torch.where(ids == big, 9, ids))
    for name in ("index", "plane", "count", "rank", "per_plane"):
        assert torch.equal(getattr(found, name), getattr(same, name)), name
    assert found.ids.tolist() == [1, 7, big, 1, big]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.uint8,
        torch.int8,
        torch.uint16,
        torch.int16,
        torch.uint32,
        torch.int32,
        torch.int64,
    ],
)
def test_all_integer_dtypes(dtype):
    found = index_regions(torch.tensor([[0, 2, 2, 1]]).to(dtype))
    assert found.index.tolist() == [[-1, 1, 1, 0]]


def test_another_ignore_index_makes_zero_a_region():
    found = index_regions(torch.tensor([[0, 255, 1]]), ignore_index=255)
    assert found.index.tolist() == [[0, -1, 1]]
    found = index_regions(torch.tensor([[0, -1, 1]]), ignore_index=-1)
    assert found.index.tolist() == [[0, -1, 1]]


@pytest.mark.parametrize("shape", [(2, 5), (0, 4), (2, 0)])
def test_nothing_painted(shape):
    found = index_regions(torch.zeros(shape, dtype=torch.int64))
    assert found.index.shape == shape
    assert found.count.numel() == found.n_planes == found.widest == 0


def test_moves_to_another_device():
    found = index_regions(torch.tensor([[1, 2]])).to("meta")
    assert found.index.device.type == found.ids.device.type == "meta"
    assert found.widest == 2


@pytest.mark.parametrize(
    ("regions", "planes", "message"),
    [
        (torch.tensor([[1.0]]), None, "integer.*torch.float32"),
        (torch.tensor([[True]]), None, "integer.*torch.bool"),
        ([[1]], None, "integer.*list"),
        (torch.tensor([1, 2]), None, r"dimensions.*\(2,\)"),
        (torch.tensor([[1, -3]]), None, "negative.*-3"),
        (np.array([[1]]), None, "integer tensor.*ndarray"),
        (torch.tensor([[1, 2]]), torch.tensor([0.5]), "Planes must be an integer.*float32"),
        (torch.tensor([[1, 2]]), [0], "Planes must be an integer tensor.*list"),
        (torch.tensor([[1, 2]]), torch.tensor([0, 1]), r"Planes do not fit.*\(1,\) or \(1, 2\)"),
        (torch.tensor([[1, 2]]), torch.zeros(1, dtype=torch.int64, device="meta"), "device.*meta"),
    ],
)
def test_bad_input_names_what_was_got(regions, planes, message):
    with pytest.raises(InputError, match=message):
        index_regions(regions, planes)

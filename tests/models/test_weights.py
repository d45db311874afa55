import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_cas.errors import WeightsError
from napari_cas.models.weights import lite0_file, load_fitting, load_in_order, read_weights


def test_the_package_carries_its_file():
    tensors = read_weights(lite0_file())
    assert len(tensors) == 296
    assert next(iter(tensors)) == "_conv_stem.weight"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_both_formats(tmp_path, suffix):
    tensors = {"a": torch.rand(3), "b": torch.rand(2, 2)}
    file = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": tensors}, file)
    else:
        save_file(tensors, file)
    assert torch.equal(read_weights(file)["b"], tensors["b"])


def test_missing_damaged_and_hostile_files(tmp_path):
    with pytest.raises(WeightsError, match="No such weight file"):
        read_weights(tmp_path / "none.pth")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 20)
    with pytest.raises(WeightsError, match="could not be read"):
        read_weights(damaged)
    marker = tmp_path / "executed"
    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(pickle.dumps(_Touch(str(marker))))
    with pytest.raises(WeightsError):
        read_weights(hostile)
    assert not marker.exists()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="unknown form"):
        read_weights(tmp_path / "list.pth")


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_order_counts_not_names():
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    load_in_order(target, {"x": source.weight.detach(), "y": source.bias.detach()}, "here")
    assert torch.equal(source.weight, target.weight)
    with pytest.raises(WeightsError, match="another network"):
        load_in_order(target, {"y": source.bias.detach()}, "here")


def test_last_layer_may_differ():
    source = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 21))
    target = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 8))
    load_fitting(target, source.state_dict(), "here")
    assert torch.equal(source[0].weight, target[0].weight)
    with pytest.raises(WeightsError, match="at least half"):
        load_fitting(nn.Linear(5, 5), source.state_dict(), "here")

import errno
from pathlib import Path

import pytest
import torch

from napari_cas.engine import snapshot
from napari_cas.engine.snapshot import Snapshot


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    turned = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    return [turned, torch.tensor(7), torch.rand(3).half(), torch.zeros(0, 2), torch.rand(6)]


def check(tensors, *, in_file):
    before = [tensor.clone() for tensor in tensors]
    with Snapshot(tensors) as taken:
        assert (taken._file is not None) == in_file
        for _ in range(2):
            for tensor in tensors:
                tensor.mul_(0)
            taken.restore(tensors)
            assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))


def test_small_tensors_stay_in_memory(tensors):
    check(tensors, in_file=False)


def test_large_ones_come_back_from_a_file(tensors, monkeypatch):
    monkeypatch.setattr(snapshot, "_IN_MEMORY", 0)
    check(tensors, in_file=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is needed")
@pytest.mark.parametrize("fails", ["making", "writing"])
def test_without_room_for_a_file_they_stay_in_memory(tensors, monkeypatch, fails):
    monkeypatch.setattr(snapshot, "_IN_MEMORY", 0)
    made = snapshot.tempfile.TemporaryFile

    def full(*_, **settings):
        if fails == "making":
            raise OSError(errno.ENOSPC, "No space left on device")
        file = made(**settings)
        file.close()
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(snapshot.tempfile, "TemporaryFile", full)
    check(tensors, in_file=False)

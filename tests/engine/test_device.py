import pytest
import torch

from napari_cas.engine.device import (
    available_devices,
    generator,
    is_out_of_memory,
    resolve_device,
    set_threads,
)
from napari_cas.errors import ConfigError


def test_auto_takes_the_best_and_cpu_always_works():
    assert "cpu" in available_devices()
    assert str(resolve_device("auto")) == available_devices()[0]
    missing = {"cuda", "mps"} - set(available_devices())
    for name in missing:
        with pytest.raises(ConfigError, match=f"got {name}"):
            resolve_device(name)


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert set_threads() == 1 == torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    cores = set_threads()
    assert 1 <= cores < 1000
    for unreadable in ("", "many", "0"):
        monkeypatch.setenv("OMP_NUM_THREADS", unreadable)
        assert set_threads() == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1,4")
    assert set_threads() == 1


def test_generators_depend_on_all_seeds():
    draws = {
        tuple(torch.randint(10**6, (3,), generator=generator(*seed)).tolist())
        for seed in [(0, 0), (0, 1), (1, 0), (1, 1)]
    }
    assert len(draws) == 4
    again = [torch.rand(2, generator=generator(7, 2**40)) for _ in range(2)]
    assert torch.equal(*again)


def test_memory_errors_of_all_kinds():
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**60)
    assert is_out_of_memory(found.value)
    assert is_out_of_memory(MemoryError())
    for said in (
        "DefaultCPUAllocator: not enough memory: you tried to allocate 911360 bytes.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ):
        assert is_out_of_memory(RuntimeError(said)), said
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))

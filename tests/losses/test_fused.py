import importlib.util
import math
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from napari_cas.losses import cas_loss, index_regions, moments
from napari_cas.losses.moments import _function, _fused_works
from napari_cas.losses.portable import RegionMoments

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


@needs_triton
@pytest.mark.parametrize(
    ("script", "interpret", "says"),
    [("fused_check.py", "1", "agrees"), ("fused_compile.py", "0", "compiles")],
)
def test_kernels_agree_with_float64_and_compile_without_a_gpu(script, interpret, says, repository):
    """Triton decides at import whether it interprets, so each needs a process of its own."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script)],
        env={**os.environ, "TRITON_INTERPRET": interpret},
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == says


def test_the_cpu_takes_the_portable_path_without_importing_triton(repository):
    assert _function(torch.zeros(1, 2, 3), logarithms=False) is RegionMoments
    code = (
        "import sys, torch; from napari_cas.losses import cas_loss;"
        "cas_loss(torch.zeros(1, 2, 3), torch.ones(1, 3, dtype=torch.int64));"
        "print('napari_cas.losses.fused' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.fixture
def untried():
    """Forget what was tried, before and after."""
    for function in (moments._fused_works, moments._say_slower):
        function.cache_clear()
    yield
    for function in (moments._fused_works, moments._say_slower):
        function.cache_clear()


FORM = (torch.device("cpu"), torch.float32, 3, False)


@pytest.mark.usefixtures("untried")
def test_where_the_kernel_cannot_run_the_portable_path_is_taken_with_a_reason():
    with pytest.warns(UserWarning, match=r"does not run on cpu \(.+\).*same"):
        assert not _fused_works(*FORM)
    with warnings.catch_warnings(action="error"):  # said once
        assert not _fused_works(*FORM)
        assert not _fused_works(FORM[0], torch.bfloat16, 5, True)


@needs_triton
@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_a_kernel_that_gives_something_else_is_not_taken(monkeypatch, factor):
    """As another version of Triton may make of it."""
    from napari_cas.losses import fused

    def other(*args):
        means, second = RegionMoments.apply(*args)
        return means, factor * second

    monkeypatch.setattr(fused.FusedMoments, "apply", other)
    with pytest.warns(UserWarning, match=r"its results differ by (0\.01|nan)"):
        assert not _fused_works(*FORM)


@needs_triton
@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, nullcontext])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("logarithms", [False, True])
def test_a_kernel_that_is_right_is_taken_whoever_asks_first(
    monkeypatch, mode, dtype, channels, logarithms
):
    from napari_cas.losses import fused

    monkeypatch.setattr(fused, "FusedMoments", RegionMoments)
    state = torch.get_rng_state()
    with mode():
        assert _fused_works(FORM[0], dtype, channels, logarithms)
    assert torch.equal(torch.get_rng_state(), state)


@needs_triton
@pytest.mark.usefixtures("untried")
def test_memory_that_ran_out_says_nothing_about_the_kernel(monkeypatch):
    from napari_cas.losses import fused

    def starved(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fused.FusedMoments, "apply", starved)
    for _ in range(2):  # the second time, too: it is not remembered
        with pytest.raises(torch.OutOfMemoryError):
            _fused_works(*FORM)


def on_cuda(number):
    """Return what the choice of an implementation looks at, of logits on a GPU."""
    device = torch.device("cuda", number)
    return SimpleNamespace(is_cuda=True, dtype=torch.float32, device=device, shape=(1, 2, 3))


@needs_triton
def test_deterministic_runs_take_no_atomic_additions(monkeypatch):
    monkeypatch.setattr(moments, "_fused_works", lambda *form: True)
    assert _function(on_cuda(0), logarithms=True) is not RegionMoments
    torch.use_deterministic_algorithms(True)
    try:
        assert _function(on_cuda(0), logarithms=True) is RegionMoments
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_kernel_is_tried_and_launched_on_the_device_of_the_logits(monkeypatch):
    """Triton launches on the current device: with another one's memory, that is an error there."""
    current = [torch.device("cuda", 0)]

    @contextmanager
    def entered(device):
        current.append(device)
        yield
        current.pop()

    launched = SimpleNamespace(apply=lambda *_: (current[-1], None))

    def tried(logits, *, logarithms):
        assert current[-1] == logits.device
        return launched

    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(moments, "_function", tried)
    regions = index_regions(torch.ones(1, 3, dtype=torch.int64))
    assert moments._moments(on_cuda(1), regions, logarithms=False)[0] == torch.device("cuda", 1)


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("uniformer", ["squared", "cross_entropy"])
def test_cuda_agrees_with_the_cpu(uniformer):
    torch.manual_seed(0)
    logits, ids = torch.randn(2, 16, 65, 70), torch.randint(0, 30, (2, 65, 70))
    found = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        leaf = logits.to(device, dtype).requires_grad_()
        loss = cas_loss(leaf, index_regions(ids.to(device)), uniformer=uniformer)
        found.append((loss.cpu().double(), torch.autograd.grad(loss, leaf)[0].cpu().double()))
    for wanted, ours in zip(*found, strict=True):
        assert (ours - wanted).abs().max() < 1e-4 * wanted.abs().max()

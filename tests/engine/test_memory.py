"""What the C library keeps is measured in processes of their own: it keeps it for good."""

import subprocess
import sys

import pytest

from napari_cas.engine.memory import _mallopt

_SCRIPT = """
import numpy as np, psutil
from napari_cas.engine.memory import spare_memory

def held():
    return psutil.Process().memory_info().rss >> 20

spare_memory({first})
spare_memory({spare})
before = held()
blocks = [np.ones(4 << 17) for _ in range(64)]  # of 4 MiB
last = np.ones(4 << 17)  # lies above them
del blocks
print(held() - before)
"""

_TILE = """
import re
from pathlib import Path

import torch
from napari_cas.config import ModelSpec
from napari_cas.engine.memory import spare_memory
from napari_cas.models import create_model

def told(what):
    # Not by getrusage: its peak is that of the process that started this one, if that was higher.
    return int(re.search(rf"{what}:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10

spare_memory(True)
model = create_model(ModelSpec(name="lraspp_mobilenet_v3_large", weights="none"))
image = torch.rand(1, 3, 1088, 1088) * 255
with torch.no_grad():
    model(image[..., :320, :320])
    before = told("VmRSS")
    model(image)
print(told("VmHWM") - before)
"""


@pytest.mark.skipif(_mallopt() is None, reason="of glibc only")
@pytest.mark.parametrize("spare", [True, False])
def test_what_was_freed_goes_back_or_is_kept(spare):
    script = _SCRIPT.format(first=not spare, spare=spare)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) < 128) == spare


@pytest.mark.skipif(_mallopt() is None, reason="of glibc only")
def test_a_tile_takes_little_beside_its_largest_maps():
    done = subprocess.run([sys.executable, "-c", _TILE], capture_output=True, text=True, check=True)
    # 16 channels at half the resolution are 18 MiB; with copies of what convolutions take and give
    # and of what is normalised it was over 200.
    assert int(done.stdout) < 170

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


@pytest.mark.skipif(_mallopt() is None, reason="of glibc only")
@pytest.mark.parametrize("spare", [True, False])
def test_what_was_freed_goes_back_or_is_kept(spare):
    script = _SCRIPT.format(first=not spare, spare=spare)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) < 128) == spare

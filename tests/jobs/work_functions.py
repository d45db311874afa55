"""Functions that tests run inside real worker processes, found there by name."""

import os
import signal
import sys
import time
from pathlib import Path

from napari_cas.errors import CheckpointError, StorageError
from napari_cas.protocol import RoundReport, TilesReport


def pid():
    return os.getpid()


def niceness():
    return os.nice(0)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def loaded(name):
    return name in sys.modules


def refuse():
    raise StorageError("The disk is full", expected="1 MB", got="0 MB", todo="Make room.")


class ForeignError(CheckpointError):
    """An error class that only this module knows, as one defined next to torch would be."""


def refuse_foreign():
    raise ForeignError("Wrong model", todo="Take another.")


class Version(str):
    """A string of a class of its own, as ``torch.__version__`` is."""


def version_like_torchs():
    return {"version": Version("2.9")}


def divide(a, b):
    return a / b


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def exhaust():
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def grow(megabytes):
    globals()["hoard"] = bytearray(megabytes * 2**20)
    return os.getpid()


def sleep_and_tell(seconds, path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def report(request, *, steps=1, converged=False):
    return RoundReport(
        checkpoint=f"round-{request.round}",
        steps=steps,
        losses=(),
        channels_used=2,
        regions=2,
        changed=(),
        converged=converged,
    )


def round_quick(request):
    """A round that notes in the project's folder from which checkpoint it started."""
    with (Path(request.project) / "rounds.txt").open("a") as file:
        file.write(f"{request.round} {request.checkpoint}\n")
    return report(request)


def round_converging(request):
    return report(request, converged=request.round >= 2)


def round_slow(request):
    (Path(request.project) / f"pid-{request.round}").write_text(str(os.getpid()))
    time.sleep(0.6)
    return report(request)


def round_waiting_to_be_killed(request):
    """A round whose worker, the first time, lives until somebody kills it."""
    mark = Path(request.project) / f"pid-{request.round}"
    if not mark.exists():
        begun = mark.with_suffix(".begun")
        begun.write_text(str(os.getpid()))
        begun.rename(mark)
        time.sleep(60)
    return report(request)


def round_dying_once(request):
    mark = Path(request.project) / f"died-{request.round}"
    if request.round == 1 and not mark.exists():
        mark.touch()
        die()
    return report(request)


def round_failing(request):
    raise StorageError("The disk is full", todo="Make room.")


def tiles_noted(request):
    with (Path(request.project) / "tiles.txt").open("a") as file:
        for tile in request.tiles:
            file.write(f"{tile.image} {tile.plane} {tile.box.y0} {tile.box.x0}\n")
    time.sleep(0.02 * len(request.tiles))
    seconds = {"total": 0.2 * len(request.tiles)}
    return TilesReport(done=request.tiles, seconds=seconds, device=f"process {os.getpid()}")

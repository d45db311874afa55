"""Killed writers, full disks and concurrent readers: real processes, real file systems."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from napari_cas.errors import CheckpointError, StorageError
from napari_cas.protocol import Box
from napari_cas.store import LabelArray, Project
from napari_cas.store.export import export

PAINTER = """
    import sys
    import numpy as np
    from napari_cas.store import Project
    project = Project.open(sys.argv[1])
    regions = project.image("a").regions
    print("ready", flush=True)
    first = int(sys.argv[2])
    for i in range(first, first + 10_000):
        row, column = (i * 37) % 1200, (i * 101) % 1200
        regions[row : row + 300, column : column + 300] = i  # touches at least four chunks
        if i % 5 == 0:
            regions[0:256, 0:256] = 0
        project.set_state({"stroke": i})
        project.flush()
        print(i, flush=True)
"""


def _replay(count):
    """Return what strokes 1..count leave."""
    truth = np.zeros((1500, 1500), np.int32)
    for i in range(1, count + 1):
        row, column = (i * 37) % 1200, (i * 101) % 1200
        truth[row : row + 300, column : column + 300] = i
        if i % 5 == 0:
            truth[0:256, 0:256] = 0
    return truth


def _check_after_kill(path, acknowledged):
    """Every finished stroke is there; of the one under way each chunk is old or new."""
    before, after = _replay(acknowledged), _replay(acknowledged + 1)
    with Project.open(path) as project:
        assert project.problems == ()
        regions = project.image("a").regions
        assert isinstance(regions, LabelArray)
        found = regions[...]
        stored = zarr.open_array(str(regions.files.path), mode="r")[...]
        np.testing.assert_array_equal(found, stored)
        assert regions.problems == []
        for y in range(0, 1500, 256):
            for x in range(0, 1500, 256):
                part = (slice(y, y + 256), slice(x, x + 256))
                got = found[part]
                assert np.array_equal(got, before[part]) or np.array_equal(got, after[part])
        assert project.get_state().get("stroke", 0) in (acknowledged, acknowledged + 1)
        # The stroke under way is finished, so that the next round can go on from a known state.
        regions[...] = after
    return acknowledged + 1


def _kill_rounds(tmp_path, run_script, rounds):
    path = tmp_path / "p.zarr"
    with Project.create(path) as project:
        project.add_image("a", np.arange(1500 * 1500).reshape(1500, 1500) % 251, "yx")
    done = 0
    for seed in range(rounds):
        process = run_script(PAINTER, path, done + 1)
        assert process.stdout.readline() == "ready\n"
        if seed % 3 == 0:
            done = int(process.stdout.readline())  # a busy machine may manage none in the pause
        time.sleep(random.Random(seed).uniform(0, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait()
        acknowledged = int(lines[-1]) if lines else done
        done = _check_after_kill(path, acknowledged)
        with Project.open(path) as project:
            project.set_state({"stroke": done})
    assert done > rounds


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_painter_loses_no_finished_stroke(tmp_path, run_script):
    _kill_rounds(tmp_path, run_script, 3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_painter_killed_a_hundred_times_loses_no_finished_stroke(tmp_path, run_script):
    _kill_rounds(tmp_path, run_script, 100)


def test_readers_never_see_a_torn_chunk(tmp_path, run_script):
    path = tmp_path / "p.zarr"
    with Project.create(path) as project:
        project.add_image("a", np.arange(300 * 300).reshape(300, 300) % 251, "yx")
    code = """
        import sys
        from napari_cas.store import Project
        prediction = Project.open(sys.argv[1], "worker").image("a").prediction
        print("ready", flush=True)
        for i in range(1_000_000):
            prediction[:256, :256] = i % 4  # every fourth time the chunk's file is removed
            prediction.flush()
    """
    process = run_script(code, path)
    process.stdout.readline()
    reader = Project.open(path, "r").image("a").prediction
    seen, end = set(), time.monotonic() + 1.5
    while time.monotonic() < end or (len(seen) < 2 and time.monotonic() < end + 30):
        part = reader[:256, :256]
        assert part.min() == part.max()
        seen.add(int(part[0, 0]))
    assert process.poll() is None
    assert len(seen) > 1
    assert reader.problems == []


MODELLER = """
    import sys
    import numpy as np
    from napari_cas.store import Project
    project = Project.open(sys.argv[1], "worker")
    print("ready", flush=True)
    for i in range(1_000_000):
        project.save_model("m", {"w": np.full(20_000, i, np.float32)}, {"i": i})
        if i == 0:
            print("saved", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_model_is_whole_whenever_its_writer_is_killed(tmp_path, run_script):
    path = tmp_path / "p.zarr"
    Project.create(path).close()
    for seed in range(3):
        process = run_script(MODELLER, path)
        process.stdout.readline()
        process.stdout.readline()
        reader, end = Project.open(path, "r"), time.monotonic() + 0.5
        while time.monotonic() < end:  # reading while it is replaced
            tensors, record = reader.load_model("m")
            assert (tensors["w"] == record["i"]).all()
        time.sleep(random.Random(seed).uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with Project.open(path) as project:
            tensors, record = project.load_model("m")
            assert (tensors["w"] == record["i"]).all()
            assert project.models == ("m",)


def test_a_model_left_aside_by_a_crash_is_restored(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        project.save_model("m", {"w": np.ones(3)}, {"i": 1})
        path = project.path
    (path / "models" / "m").rename(path / "models" / ".tmp-old-m")
    with Project.open(path, "r") as project, pytest.raises(CheckpointError):
        project.load_model("m")
    with Project.open(path) as project:
        assert project.load_model("m")[1] == {"i": 1}


# Full and read-only file systems --------------------------------------------------------------


class Volume:
    """A small file system in memory."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path))

    def _mount(self, *args):
        subprocess.run(["mount", *args], check=True, capture_output=True)

    def options(self, text):
        self._mount("-o", f"remount,{text}", str(self.path))

    def fill(self):
        with (
            contextlib.suppress(OSError),
            (self.path / "ballast").open("wb", buffering=0) as file,
        ):
            while True:
                file.write(bytes(4096))

    def free(self):
        (self.path / "ballast").unlink()


@pytest.fixture
def volume(tmp_path):
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root on Linux")
    try:
        volume = Volume(tmp_path / "volume")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounting is not allowed here: {error.stderr!r}")
    yield volume
    subprocess.run(["umount", "-l", str(volume.path)], check=True)


@pytest.fixture
def on_volume(volume, rng):
    project = Project.create(volume.path / "p.zarr")
    project.add_image("a", rng.integers(0, 9, (600, 600)).astype(np.uint8), "yx")
    yield project
    volume.options("rw,size=64m")
    project.close()


def test_a_full_disk_loses_nothing_and_all_is_saved_once_there_is_room(on_volume, volume, rng):
    project = on_volume
    entry = project.image("a")
    entry.regions[:10, :10] = 1
    project.flush()
    project.set_state({"n": 1})
    project.save_model("m", {"w": np.ones(3)}, {"i": 1})
    volume.fill()
    noise = rng.integers(0, 2**31 - 1, (600, 600))
    entry.regions[...] = noise  # does not compress: 1.4 MB
    entry.prediction_view[5:9, 5:9] = 3
    with pytest.raises(StorageError, match=r"No space left.*stays in memory"):
        project.flush()
    with pytest.raises(StorageError, match="No space left"):
        project.set_state({"n": 2, "long": "x" * 100_000})
    with pytest.raises(StorageError, match="No space left"):
        project.save_model("m", {"w": np.zeros(300_000)}, {"i": 2})
    with pytest.raises(StorageError, match="No space left"):
        project.add_image("b", noise, "yx")
    with pytest.raises(StorageError, match="No space left"):
        export(project, volume.path / "out.zarr")
    with pytest.raises(StorageError):
        project.close()  # not while something is unsaved
    assert entry.regions.dirty
    np.testing.assert_array_equal(entry.regions[...], noise)
    entry.regions[0, 0] = 5  # painting goes on
    noise[0, 0] = 5
    assert project.get_state() == {"n": 1}
    assert project.load_model("m")[1] == {"i": 1}
    assert project.images == ("a",)
    assert {p.name for p in volume.path.iterdir()} == {"ballast", "p.zarr"}
    assert not list(project.path.rglob(".tmp-*"))
    volume.free()
    project.flush()
    assert not entry.regions.dirty
    with Project.open(project.path, "r") as again:
        np.testing.assert_array_equal(again.image("a").regions[...], noise)
        assert again.image("a").prediction_view[6, 6] == 3


def test_erasing_makes_room_on_a_full_disk(on_volume, volume, rng):
    entry = on_volume.image("a")
    entry.regions[...] = rng.integers(0, 2**31 - 1, (600, 600))
    entry.flush()
    volume.fill()
    entry.regions[:512, :512] = 0
    entry.regions[550:580, 550:580] = rng.integers(0, 2**31 - 1, (30, 30))
    entry.flush()
    assert not entry.regions.dirty


def test_a_disk_that_turns_read_only_keeps_strokes_in_memory(on_volume, volume):
    # A file system with files open for writing cannot turn read-only, so another is put on top.
    entry = on_volume.image("a")
    place = entry.regions.files.path
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
    entry.regions[:9, :9] = 4
    with pytest.raises(StorageError, match="Read-only file system"):
        entry.flush()
    subprocess.run(["umount", str(place)], check=True)
    assert entry.flush() == [((), Box(0, 0, 256, 256))]


def test_a_project_on_a_read_only_disk_opens_for_reading(on_volume, volume):
    on_volume.image("a").regions[:9, :9] = 4
    on_volume.close()
    volume.options("ro")
    with pytest.raises(StorageError, match="read-only"):
        Project.open(on_volume.path)
    with Project.open(on_volume.path, "r") as project:
        assert project.image("a").regions[0, 0] == 4
    with pytest.raises(StorageError, match="Read-only"):
        Project.create(volume.path / "new.zarr")


@pytest.mark.skipif(os.name == "nt", reason="resource limits are POSIX")
def test_a_limit_on_file_size_is_a_storage_error_like_any_other(tmp_path):
    """Needs no rights, unlike the small file systems above."""
    code = f"""
import resource
import numpy as np
from napari_cas.errors import StorageError
from napari_cas.store import Project
project = Project.create({str(tmp_path / "p.zarr")!r})
regions = project.add_image("a", np.eye(300), "yx").regions
regions[...] = np.random.default_rng(0).integers(0, 2**31 - 1, (300, 300))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    regions.flush()
except StorageError as error:
    assert "File too large" in str(error), error
else:
    raise AssertionError("no error")
assert regions.dirty
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
project.close()
assert Project.open(project.path, "r").image("a").regions.ids(())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

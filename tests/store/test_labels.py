"""Label arrays behave like NumPy arrays, stay sparse and lose nothing."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cas.errors import InputError, ProjectError, StorageError
from napari_cas.protocol import Box
from napari_cas.store import LabelArray
from napari_cas.store.chunks import ChunkFiles


def _files(array):
    return sorted(p for p in array.files.path.rglob("c/**/*") if p.is_file())


SHAPE = (2, 300, 520)


@st.composite
def keys(draw):
    """Return an index as NumPy, napari or a careless caller would write it."""
    kind = draw(st.sampled_from(["basic", "points", "mixed", "mask", "corner"]))
    if kind == "basic":
        return draw(hnp.basic_indices(SHAPE, allow_newaxis=False))
    if kind == "corner":  # around the corner of four chunks
        y, x, h, w = (draw(st.integers(*r)) for r in ((200, 256), (200, 256), (0, 99), (0, 99)))
        return draw(st.integers(-2, 1)), slice(y, y + h), slice(x, x + w)
    if kind == "mask":
        mask = np.zeros(SHAPE, bool)
        mask[draw(hnp.basic_indices(SHAPE, allow_newaxis=False))] = True
        return mask
    count = draw(st.integers(0, 12))
    index = [
        np.array(draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)), np.intp)
        for n in SHAPE
    ]
    if kind == "points":
        return tuple(index)
    for axis in draw(st.sets(st.integers(0, 2), min_size=1, max_size=2)):
        start, stop = sorted(draw(st.integers(0, SHAPE[axis])) for _ in range(2))
        index[axis] = slice(start, stop, draw(st.sampled_from([None, 1, 2, -1])))
    return tuple(index)


@settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_equals_numpy_under_any_reads_writes_and_flushes(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "0"
    files = ChunkFiles.create(path, SHAPE, "int32", "zyx", durable=False)
    # A cache of three chunks, so that chunks are dropped and read again all the time.
    ours = LabelArray(files, writeable=True, follow=data.draw(st.booleans()), cache_bytes=3 << 18)
    truth = np.zeros(SHAPE, np.int32)
    for _ in range(data.draw(st.integers(1, 6))):
        key = data.draw(keys())
        action = data.draw(st.sampled_from(["write", "fill", "erase", "read", "flush", "forget"]))
        if action == "write":
            shape = truth[key].shape
            value = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 5, shape)
            truth[key] = value
            ours[key] = value
        elif action in ("fill", "erase"):
            truth[key] = ours[key] = (
                0 if action == "erase" else data.draw(st.integers(0, 2**31 - 1))
            )
        elif action == "flush":
            ours.flush()
            assert not ours.dirty
        elif action == "forget":
            ours.invalidate()
        np.testing.assert_array_equal(ours[key], truth[key])
        assert np.shape(ours[key]) == truth[key].shape
    np.testing.assert_array_equal(np.asarray(ours), truth)
    ours.flush()
    np.testing.assert_array_equal(zarr.open_array(str(path), mode="r")[...], truth)
    boxes = {(p, y // 256, x // 256) for p, y, x in zip(*np.nonzero(truth), strict=True)}
    assert {(*plane, box.y0 // 256, box.x0 // 256) for plane, box in ours.painted_chunks()} == boxes


@pytest.mark.parametrize(
    "key", [(0, 0, 0, 0), 2, (0, 300), (slice(None), 0, 520), np.zeros((3, 3), bool), None, 1.5]
)
def test_refuses_what_numpy_refuses(make_labels, key):
    array = make_labels(SHAPE)
    with pytest.raises((IndexError, TypeError, AttributeError)):
        array[key]


def test_reads_give_copies(make_labels):
    array = make_labels()
    array[:4, :4] = 1
    part = array[:4, :4]
    part[...] = 9
    assert (array[:4, :4] == 1).all()


@pytest.mark.parametrize(
    ("dtype", "value", "got"),
    [
        ("uint8", 256, "256"),
        ("int32", -1, "-1"),
        ("int32", 2**31, str(2**31)),
        ("uint8", 1.5, "float64"),
    ],
)
def test_refuses_values_that_are_no_labels(make_labels, dtype, value, got):
    array = make_labels(dtype=dtype)
    with pytest.raises(InputError, match=got):
        array[0, 0] = value
    assert not array.dirty


def test_only_painted_chunks_are_on_disk_and_erased_ones_are_removed(make_labels):
    array = make_labels()
    array[300, 300] = 5
    array[10:20, 10:20] = 0  # erasing nothing makes nothing
    assert array.flush() == [((), Box(256, 256, 512, 512))]
    assert [p.name for p in _files(array)] == ["1"]
    array[300, 300] = 5  # painting what is there changes nothing
    assert not array.dirty
    array[300, 300] = 0
    array.flush()
    assert _files(array) == []
    assert array.painted_chunks() == []


def test_boxes_are_clipped_to_the_image(make_labels):
    array = make_labels((2, 600, 700))
    array[1, 599, 699] = 1
    assert array.flush() == [((1,), Box(512, 512, 600, 700))]


def test_readers_see_the_newest_flush_and_invalidate_forgets(make_labels):
    writer, reader = make_labels(), make_labels(writeable=False, follow=True)
    writer[:10, :10] = 1
    assert reader[:10, :10].sum() == 0  # nothing is on disk before the flush
    writer.flush()
    assert reader[:10, :10].sum() == 100
    writer[:10, :10] = 2
    writer.flush()
    assert reader.read_box((range(10), range(10)), fresh=False).sum() == 100
    assert reader[:10, :10].sum() == 200
    writer[:10, :10] = 3
    writer.flush()
    reader.invalidate((), Box(0, 0, 5, 5))
    assert reader.read_box((range(10), range(10)), fresh=False).sum() == 300


def test_invalidate_keeps_what_is_not_saved(make_labels):
    array = make_labels()
    array[0, 0] = 7
    array.invalidate()
    assert array[0, 0] == 7
    assert array.flush()


def test_read_only_refuses_to_be_painted(make_labels):
    array = make_labels(writeable=False)
    assert not array.writeable
    with pytest.raises(ProjectError, match="read-only"):
        array[0, 0] = 1


def test_new_ids_are_unused_per_plane_and_survive_reopening(make_labels):
    array = make_labels((2, 600, 700))
    assert array.new_id((0,)) == 1
    array[0, 500:, 600:] = 4
    array[0, 0, 0] = 2
    assert (array.new_id((0,)), array.new_id((1,))) == (5, 1)
    array.flush()
    again = make_labels((2, 600, 700))
    assert again.new_id((0,)) == 5
    assert again.ids((0,)) == {2: 1, 4: 10_000}
    again[1, 0, 0] = 2**31 - 1
    assert again.new_id((1,)) == 1


def test_damaged_chunks_read_as_unpainted_are_named_and_kept(make_labels, caplog):
    array = make_labels()
    array[:300, :10] = 3
    array.flush()
    first, _second = _files(array)
    for damage in (b"", b"garbage", first.read_bytes()[:-3], b"\x28\xb5\x2f\xfd\x00" + bytes(50)):
        first.write_bytes(damage)
        fresh = make_labels()
        assert fresh[0, 0] == 0
        assert fresh[299, 0] == 3
        assert str(first) in fresh.problems[0]
        assert len(fresh.problems) == 1
    fresh[0, 0] = 9
    fresh.flush()
    kept = [p for p in first.parent.iterdir() if "damaged" in p.name]
    assert [p.read_bytes() for p in kept] == [damage]
    assert make_labels()[0, 0] == 9
    assert len(make_labels().painted_chunks()) == 2


def test_a_folder_in_the_place_of_a_chunk_is_damage_like_any_other(make_labels):
    array = make_labels()
    array[:10, :10] = 3
    array.flush()
    (first,) = _files(array)
    first.unlink()
    first.mkdir()
    fresh = make_labels()
    assert fresh[0, 0] == 0
    assert str(first) in fresh.problems[0]
    fresh[0, 0] = 9
    fresh.flush()
    assert make_labels()[0, 0] == 9


def test_a_chunk_that_claims_to_be_huge_allocates_nothing(make_labels):
    from numcodecs.zstd import Zstd

    from napari_cas.store.chunks import DamagedChunkError, decode

    bomb = bytes(Zstd(1).encode(np.zeros(1 << 24, np.uint8)))
    with pytest.raises(DamagedChunkError):
        decode(bomb, np.dtype("int32"))


def test_cache_stays_within_its_bound(make_labels, rng):
    array = make_labels((4096, 4096), cache_bytes=8 << 20)
    for i in range(16):  # 256 chunks of 256 KiB, 64 MiB in all
        array[i * 256 : (i + 1) * 256] = rng.integers(1, 9, (256, 4096))
        assert array._cache.bytes <= (8 << 20) + (17 << 18)
    array.flush()
    total = int(sum(int(array[i * 256 : (i + 1) * 256].sum()) for i in range(16)))
    assert array._cache.bytes <= 8 << 20
    assert total == int(zarr.open_array(str(array.files.path), mode="r")[...].sum())


def test_painting_a_huge_array_is_fast_and_small(make_labels):
    array = make_labels((30_000, 30_000))
    times = []
    rng = np.random.default_rng(0)
    for stroke in range(40):
        y, x = rng.integers(0, 29_000, 2)
        began = time.thread_time()  # what other processes take is not ours
        for step in range(10):  # one mouse move each: read the brush's box, change it, write it
            key = (slice(y + step * 8, y + step * 8 + 41), slice(x + step * 8, x + step * 8 + 41))
            part = array[key]
            part[part == 0] = stroke + 1
            array[key] = part
        times.append((time.thread_time() - began) / 10)
        array.flush()
    assert np.percentile(times, 99) < 0.033
    assert array._cache.bytes < 64 << 20
    assert sum(p.stat().st_size for p in _files(array)) < 1 << 20
    began = time.thread_time()
    assert len(array.painted_chunks()) >= 40
    assert time.thread_time() - began < 0.5


def test_a_failed_flush_keeps_everything_and_the_next_one_saves_it(make_labels):
    """A file where a directory must be stands for any refusal of the file system."""
    array = make_labels()
    array[0, 0] = 1
    array[300, 300] = 2
    obstacle = array.files.path / "c" / "0"
    obstacle.parent.mkdir()
    obstacle.write_text("in the way")
    with pytest.raises(StorageError, match="Could not write"):
        array.flush()
    assert array.dirty
    assert (array[0, 0], array[300, 300]) == (1, 2)
    assert make_labels()[300, 300] == 2  # what could be written was
    obstacle.unlink()
    assert array.flush() == [((), Box(0, 0, 256, 256))]
    assert not array.dirty
    assert make_labels()[0, 0] == 1


def test_strokes_wait_for_a_project_that_was_moved_and_make_no_new_one(make_labels):
    """Written to a new folder of the old name, they would not be found again."""
    labels = make_labels()
    folder = labels.files.path.parent
    labels[:5, :5] = 1
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StorageError, match="No such file"):
        labels.flush()
    assert not folder.exists()
    folder.with_name("elsewhere").rename(folder)
    assert labels.flush() == [((), Box(0, 0, 256, 256))]


def test_the_ids_of_a_plane_are_found_without_looking_at_others(tmp_path, monkeypatch):
    files = ChunkFiles.create(tmp_path / "a", (5, 300, 300), "int32", "zyx")
    writer = LabelArray(files, writeable=True, follow=False)
    for plane in range(5):
        writer[plane, 10:20, 10:290] = plane + 1
    writer.flush()
    looked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(str(path)) or scandir(path))
    assert LabelArray.open(files.path).ids((3,)) == {4: 2800}
    assert looked[0] == str(files.path / "c" / "3")
    assert all(path.startswith(looked[0]) for path in looked)
    writer[3] = 0  # not on disk yet
    writer[3, 5, 5] = 9
    assert writer.ids((3,)) == {9: 1}
    assert writer.ids((2,)) == {3: 2800}

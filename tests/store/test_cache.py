"""All arrays of a process share one bound, and nothing unsaved is dropped."""

from __future__ import annotations

import numpy as np

from napari_cas.store import cache


def test_many_arrays_together_stay_within_the_bound(make_labels, monkeypatch):
    monkeypatch.setattr(cache, "PROCESS_BYTES", 24 << 20)
    arrays = [make_labels((2048, 2048), name=f"a{i}") for i in range(6)]
    for number, array in enumerate(arrays):
        array[...] = number + 1  # 16 MB each
        array.flush()
        held = sum(a._cache.bytes for a in arrays)
        assert held <= (24 << 20) + (8 << 20) + (1 << 20)
    assert arrays[0]._cache.bytes == 0
    for number, array in enumerate(arrays):
        assert (array[...] == number + 1).all()


def test_unsaved_chunks_stay_whatever_the_bound(make_labels, monkeypatch):
    monkeypatch.setattr(cache, "PROCESS_BYTES", 0)
    first, second = make_labels(name="a"), make_labels(name="b", shape=(4096, 4096))
    first[:300, :300] = 5
    second[...] = 1
    second.flush()
    assert first.dirty
    assert np.count_nonzero(first[...]) == 90_000
    first.flush()
    assert make_labels(name="a").ids(()) == {5: 90_000}

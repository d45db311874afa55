import numpy as np

from napari_cas.config import ModelSpec
from napari_cas.engine.features import FeatureCache, feature_box, tile_features
from napari_cas.engine.sources import ArraySource
from napari_cas.models import create_model
from napari_cas.protocol import Box


def test_the_least_recently_used_goes_first():
    cache = FeatureCache(limit=100)
    for name in "abc":
        cache.put(name, name, 40)
        cache.get("a", str)
    assert cache.get("a", str) == "a"
    assert cache.get("b", str) is None
    assert cache.size == 80
    cache.put("a", "A", 10)
    assert (cache.size, cache.get("a", str)) == (50, "A")
    cache.clear()
    assert (cache.size, cache.get("a", str)) == (0, None)


def test_something_larger_than_the_limit_is_held_alone():
    cache = FeatureCache(limit=10)
    cache.put("a", 1, 5)
    cache.put("b", 2, 50)
    assert cache.get("a", int) is None
    assert cache.get("b", int) == 2


def test_what_passes_through_takes_free_room_and_its_own_kinds_place():
    cache = FeatureCache(limit=100)
    cache.put("round", 1, 60)
    with cache.passing_through(2):
        cache.put("tile 1", 2, 30)
        assert cache.get("tile 1", int) == 2
        cache.put("tile 2", 3, 30)
        cache.put("too large", 4, 50)
    assert cache.get("round", int) == 1
    assert [cache.get(name, int) for name in ("tile 1", "tile 2", "too large")] == [None] * 3
    assert cache.size == 60


def test_what_passed_through_and_is_used_by_a_round_stays():
    cache = FeatureCache(limit=100)
    with cache.passing_through(2):
        cache.put("tile 1", 1, 50)
        cache.put("tile 2", 2, 50)
    assert cache.get("tile 1", int) == 1
    with cache.passing_through(2):
        cache.put("tile 3", 3, 50)
    assert [cache.get(f"tile {i}", int) for i in (1, 2, 3)] == [1, None, 3]
    cache.put("round", 4, 60)
    assert (cache.get("round", int), cache.size) == (4, 60)


def test_of_a_plane_too_large_to_be_held_little_is():
    cache = FeatureCache(limit=800)
    with cache.passing_through(1000):
        for number in range(1000):
            cache.put(number, number, 40)
    assert cache.size == 80
    assert cache.get(999, int) == 999
    cache.clear()
    with cache.passing_through(20):
        for number in range(20):
            cache.put(number, number, 40)
    assert cache.size == 800


class Counting(ArraySource):
    """Remembers what was read."""

    def read(self, plane, box):
        self.boxes = [*getattr(self, "boxes", []), box]
        return super().read(plane, box)


def test_only_the_tile_and_its_context_are_read_and_once():
    model = create_model(ModelSpec(weights="none"), in_channels=1)
    source = Counting("big", np.random.default_rng(0).random((1, 1024, 1024)))
    cache = FeatureCache()
    tile = Box(512, 512, 640, 640)
    first = tile_features(model, source, (), tile, cache)
    assert tile_features(model, source, (), tile, cache) is first
    (box,) = source.boxes
    kept = feature_box(tile, source.size)
    assert box.shape == (kept.shape[0] + 2 * model.halo, kept.shape[1] + 2 * model.halo)
    assert cache.size == sum(level.numel() * 4 for level in first)

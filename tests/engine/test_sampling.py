import numpy as np
import pytest
import torch

from napari_cas.config import ModelSpec
from napari_cas.engine.corrected import Corrected
from napari_cas.engine.crops import CropSampler
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.mixed import Mixed
from napari_cas.engine.painting import ACCEPTED, painted_tiles
from napari_cas.engine.sampling import PixelSampler
from napari_cas.engine.sources import ArraySource
from napari_cas.models import create_model
from napari_cas.protocol import Box

from .conftest import painted, source


@pytest.fixture(scope="module")
def model():
    return create_model(ModelSpec(weights="none", channels=4), in_channels=1)


def test_each_region_gives_the_same_number_of_pixels(model):
    sampler = PixelSampler(model, painted_tiles([source(painted())], 512), FeatureCache(), 0)
    assert sampler.ids.tolist() == [3, 7, 9]
    inputs, regions = sampler.batch(0)
    assert len(set(regions.count.tolist())) == 1
    assert regions.index.shape == (1, len(inputs))
    assert regions.n_planes == 1


def test_features_of_a_region_are_those_of_its_pixels(model):
    regions = painted()
    one = source(regions)
    sampler = PixelSampler(model, painted_tiles([one], 512), FeatureCache(), 0)
    first = sampler.features[: int(sampler.count[0]), 0]  # feature 0 is the image itself
    pixels = one.read((), _whole(regions))[0][regions == 3]
    expected = np.sort((pixels - 127) / 64)
    assert np.allclose(np.sort(first.numpy()), expected, atol=1e-4)


def _whole(regions):
    from napari_cas.protocol import Box

    return Box(0, 0, *regions.shape)


def test_steps_differ_and_repeat(model):
    tiles = painted_tiles([source(painted())], 512)
    sampler = PixelSampler(model, tiles, FeatureCache(), 0)
    again = PixelSampler(model, tiles, FeatureCache(), 0)
    assert torch.equal(sampler.batch(3).inputs, again.batch(3).inputs)
    assert not torch.equal(sampler.batch(3).inputs, sampler.batch(4).inputs)


def test_a_region_on_several_tiles_is_one_and_ids_of_planes_are_apart(model):
    regions = np.zeros((300, 900), int)
    regions[100:104, 100:800], regions[200:204, 100:120] = 1, 2
    both = [source(regions), source(regions, "b", 1)]
    tiles = painted_tiles(both, 256)
    assert len(tiles) > 4
    sampler = PixelSampler(model, tiles, FeatureCache(), 0)
    assert sampler.plane.tolist() == [0, 0, 1, 1]
    assert sampler.batch(0).regions.n_planes == 2


def test_hundreds_of_regions_keep_steps_bounded(model):
    regions = np.arange(1, 401).reshape(20, 20).repeat(8, 0).repeat(8, 1)
    both = [source(regions), source(regions, "b", 1)]
    sampler = PixelSampler(model, painted_tiles(both, 512), FeatureCache(), 0)
    for step in range(3):
        inputs, found = sampler.batch(step)
        assert len(inputs) < 10_000
        assert len(found.count) > 2


def test_unchanged_tiles_are_not_gathered_again(model):
    cache = FeatureCache()
    tiles = painted_tiles([source(painted())], 512)
    first = PixelSampler(model, tiles, cache, 0)
    cache.discard(("features", "a", (), tiles[0].box))
    held = cache.size
    second = PixelSampler(model, tiles, cache, 0)
    assert cache.size == held
    assert torch.equal(first.features, second.features)


def test_copies_add_pixels_to_the_same_regions_and_are_drawn_with_them(model):
    tiles = painted_tiles([source(painted()), source(painted(), "b", 1)], 512)
    cache = FeatureCache()
    plain = PixelSampler(model, tiles, cache, 0)
    assert plain.varied is plain.features
    sampler = PixelSampler(model, tiles, cache, 0, copies=2)
    assert torch.equal(sampler.features, plain.features)
    assert torch.equal(sampler.ids, plain.ids)
    assert (sampler.varied_count > sampler.count).all()
    assert len(sampler.varied) == sampler.varied_count.sum()
    # What is new of each region follows what was there.
    starts = sampler.varied_count.cumsum(0) - sampler.varied_count
    old = torch.cat([torch.arange(s, s + n) for s, n in zip(starts, sampler.count, strict=True)])
    assert torch.equal(sampler.varied[old], plain.features)
    drawn = sampler.batch(0).inputs
    known = {tuple(row) for row in plain.features.tolist()}
    new = sum(tuple(row) not in known for row in drawn.tolist())
    assert 0 < new < len(drawn)
    held = cache.size
    PixelSampler(model, tiles, cache, 0, copies=2)
    assert cache.size == held
    # Where copies do not count, steps are those without them.
    sampler.settle(sampler.group, varied=False)
    assert torch.equal(sampler.batch(0).inputs, plain.batch(0).inputs)


def test_crops_hold_different_regions_of_their_planes():
    tiles = painted_tiles([source(painted()), source(painted(), "b", 1)], 512)
    sampler = CropSampler(
        tiles, FeatureCache(), crop=64, batch=4, seed=0, device=torch.device("cpu")
    )
    for step in range(8):
        inputs, regions = sampler.batch(step)
        assert inputs.shape == (4, 1, 64, 64)
        assert regions.n_planes == 2
        assert int(torch.bincount(regions.plane).min()) >= 2
    assert torch.equal(sampler.batch(2).inputs, sampler.batch(2).inputs)


def test_crops_larger_than_the_image_are_padded_and_pads_are_not_painted():
    regions = np.zeros((40, 50), int)
    regions[5:10], regions[30:35] = 1, 2
    tiles = painted_tiles([source(regions)], 512)
    sampler = CropSampler(
        tiles, FeatureCache(), crop=64, batch=1, seed=0, device=torch.device("cpu")
    )
    inputs, found = sampler.batch(0)
    assert inputs.shape == (1, 1, 64, 64)
    assert found.count.tolist() == [250, 250]


@pytest.mark.parametrize("copies", [0, 2])
def test_parted_regions_keep_their_pixels_plane_and_id(model, copies):
    sources = [source(painted(), n, k) for k, n in enumerate("ab")]
    sources[0].title = "images[0]"
    tiles = painted_tiles(sources, 512)
    model.head.standardise(PixelSampler(model, tiles, FeatureCache(), 0).features)
    sampler = PixelSampler(model, tiles, FeatureCache(), 0, copies)
    before, count = sampler.features.clone(), sampler.count.clone()
    varied, plane, ids = sampler.varied.clone(), sampler.plane.tolist(), sampler.ids.tolist()
    own = model.head.standardised(before[int(count[0]) :][: int(count[1])]).double()
    weight = torch.zeros(own.shape[1], dtype=torch.float64)
    weight[0] = 1.0
    middle = own[:, 0].median()
    sampler.part([Mixed((1,), weight, -middle)], model.head)
    assert sampler.ids.tolist() == [ids[0], ids[1], *ids[1:]]
    assert sampler.plane.tolist() == [plane[0], plane[1], *plane[1:]]
    assert sampler.count[1] == (own[:, 0] <= middle).sum()
    assert sampler.count[[1, 2]].sum() == count[1]
    assert sampler.mixed == (("images[0]", (), ids[1]),)  # what sentences name
    assert not sampler.alike()
    # Nothing is lost, and all other regions stay as they were.
    assert torch.equal(sampler.features[int(count[:2].sum()) :], before[int(count[:2].sum()) :])
    assert torch.equal(sampler.varied.sum(1).sort().values, varied.sum(1).sort().values)
    assert len(sampler.varied_count) == len(sampler.count) == len(ids) + 1
    assert sampler.varied_count.sum() == len(varied)
    assert len(sampler.batch(0).regions.count) == len(ids) + 1


def test_nothing_is_drawn_where_there_are_no_data(model):
    regions = painted()
    image = np.random.default_rng(0).random((1, *regions.shape))
    image[:, :, 100:] = np.nan
    gappy = ArraySource("a", image, regions)
    tiles = painted_tiles([gappy], 512)
    assert not (tiles[0].regions[:, 100:]).any()
    drawn = PixelSampler(model, tiles, FeatureCache(), 0)
    assert drawn.ids.tolist() == [3, 7]  # region 9 lies where nothing is
    brightness = drawn.probes[:, 0]
    everywhere = PixelSampler(model, painted_tiles([source(regions)], 512), FeatureCache(), 0)
    assert len(drawn.probes) == len(everywhere.probes)
    neutral = gappy.read((), Box(0, 200, 1, 201)).item() / 255
    assert not np.isclose(brightness, neutral, atol=1e-6).any()


def test_nothing_is_accepted_that_looks_most_like_a_region_that_is_begun(model):
    pixels = np.random.default_rng(0).normal(60, 5, (1, 96, 128))
    pixels[..., 64:] += 120
    regions = np.zeros((96, 128), int)
    soft = np.full((4, 96, 128), 0.01, np.float32)
    soft[0] = 0.97  # all is of one kind, it said

    known = Corrected()
    for here in ([20, 8, 24, 40, 1], [30, 8, 34, 40, 1], [20, 90, 24, 120, 2]):
        y0, x0, y1, x1, id_ = here  # painted, more of it, and another region
        regions[y0:y1, x0:x1] = id_
        tiles = painted_tiles([ArraySource("a", pixels, regions.copy())], 512)
        known.look(tiles, (lambda _: soft) if known.kinds else None, 0)
        known.note(("a", ()), {1: 0})
    joined = known.join(tiles)
    sampler = PixelSampler(model, joined, FeatureCache(), 0)
    model.head.standardise(sampler.features)
    before = np.argwhere(joined[0].regions == ACCEPTED)
    assert sampler.leave_to_begun(known, model.head)
    after = np.argwhere(known.join(tiles)[0].regions == ACCEPTED)
    assert len(after) < len(before) == 256
    assert (after[:, 1] < 66).all()
    assert (after[:, 1] < 64).sum() == (before[:, 1] < 64).sum()
    assert not sampler.leave_to_begun(known, model.head)

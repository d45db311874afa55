import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import closed_form, composites
from napari_cas.engine.composites import (
    _View,
    cut_patches,
    how_many,
    make_composites,
    random_mask,
)
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.painting import PaintedTile
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import Trainer
from napari_cas.engine.variations import Variation
from napari_cas.models import create_model
from napari_cas.protocol import Box

from .conftest import strokes, two_areas

CHANNELS = 4
VARIED = {"light": True, "side": True}


def tile_of(image, name="a", plane=()):
    """Return a whole image (C, h, w) as a painted tile."""
    source = ArraySource(name, image)
    regions = np.ones(image.shape[1:], np.int64)
    return PaintedTile(source, plane, Box(0, 0, *image.shape[1:]), regions)


def ramp(height=96, width=128):
    """Return an image that gets brighter to the right in steps, and the number of each step."""
    step = np.broadcast_to(np.arange(width) * CHANNELS // width, (height, width))
    return np.broadcast_to(40 + 50 * step, (3, height, width)).astype(np.uint8), step


def says(step, sure=1.0):
    """Return a prediction of the number of each step."""
    rest = (1 - sure) / (CHANNELS - 1)
    soft = np.where(step == np.arange(CHANNELS)[:, None, None], sure, rest).astype(np.float32)
    return lambda _, box: soft[(slice(None), *box.slices)]


@pytest.fixture(scope="module")
def model():
    return create_model(ModelSpec(channels=CHANNELS), in_channels=3)


@pytest.fixture
def same_light(monkeypatch):
    light = Variation(np.ones(3, np.float32), 0.0, 1.0, 0, False)
    monkeypatch.setattr(composites, "_light", lambda *_: light)


@pytest.mark.usefixtures("same_light")
def test_pixels_of_composites_are_called_what_they_are_where_they_come_from(model):
    image, step = ramp()
    made = make_composites(model, [tile_of(image)], says(step), FeatureCache(), 0, 6, **VARIED)
    assert made.features.shape == (len(made.channel), sum(model.head.widths))
    assert len(made.channel) == 6 * 400  # all is sure
    # What a pixel looks like is among its finest features, wherever it was turned to.
    finest = made.features[:, : model.head.widths[0]].double()
    together = torch.corrcoef(torch.cat([finest, made.channel[:, None]], 1).T)[-1, :-1]
    assert together.nan_to_num().abs().max() > 0.98
    assert set(made.channel.tolist()) == set(range(CHANNELS))


@pytest.mark.usefixtures("same_light")
def test_coarse_features_see_what_was_pasted_beside(model):
    tiles = [tile_of(np.full((3, 128, 128), v, np.uint8), str(v)) for v in (60, 200)]
    own = {
        v: model.features(torch.full((1, 3, 128, 128), float(v)))[-1][0, :, 4, 4] for v in (60, 200)
    }

    def predict(tile, box):
        soft = np.zeros((CHANNELS, *box.shape), np.float32)
        soft[int(tile.source.name) // 100] = 1
        return soft

    made = make_composites(model, tiles, predict, FeatureCache(), 1, 8, **VARIED)
    deep = made.features[made.channel == 0][:, -len(own[60]) :]
    off = (deep - own[60]).norm(dim=1) / (own[200] - own[60]).norm()
    # Many pixels lie beside other things, which their own image never showed.
    assert (off > 0.2).float().mean() > 0.3


def test_light_differs_from_one_composite_to_the_next_but_not_within(model):
    image, step = ramp()
    made = make_composites(model, [tile_of(image)], says(step), FeatureCache(), 0, 6, **VARIED)
    finest = made.features[:, 0].double()
    means = [float(part.mean()) for part in finest.split(400)]
    assert np.std(means) > 0.05


def test_where_light_may_tell_regions_apart_it_stays(model):
    image, step = ramp()
    tiles = [tile_of(image)]
    together = []
    for light in (True, False):
        made = make_composites(
            model, tiles, says(step), FeatureCache(), 0, 6, light=light, side=True
        )
        both = torch.stack([made.features[:, 0].double(), made.channel.double()])
        together.append(float(torch.corrcoef(both)[0, 1].abs()))
    assert together[1] > 0.98 > together[0] + 0.05


def test_where_sides_may_tell_regions_apart_nothing_is_turned():
    rng = np.random.default_rng(0)
    stripes = np.broadcast_to(np.arange(64), (1, 64, 64))
    upright = [_View.draw(64, 32, rng, turned=False).of(stripes) for _ in range(20)]
    assert all((np.diff(view[0], axis=1) == 1).all() for view in upright)
    turned = [_View.draw(64, 32, rng, turned=True).of(stripes) for _ in range(20)]
    assert not all((np.diff(view[0], axis=1) == 1).all() for view in turned)


def test_what_the_network_is_not_sure_of_is_not_learnt(model):
    image, step = ramp()
    cache = FeatureCache()
    assert make_composites(model, [tile_of(image)], says(step, 0.89), cache, 0, 2, **VARIED) is None
    half = np.where(step < 2, step, -1)  # nothing is said of the rest, as where there are no data
    made = make_composites(model, [tile_of(image)], says(half), cache, 0, 4, **VARIED)
    assert set(made.channel.tolist()) == {0, 1}


def test_what_was_made_is_kept_and_what_is_said_of_it_is_asked_anew(model, monkeypatch):
    image, step = ramp()
    cache = FeatureCache()
    first = make_composites(model, [tile_of(image)], says(step), cache, 0, 3, **VARIED)
    monkeypatch.setattr(model, "features", lambda *_: pytest.fail("looked at again"))
    again = make_composites(
        model, [tile_of(image)], says((step + 1) % CHANNELS), cache, 0, 3, **VARIED
    )
    assert torch.equal(first.features, again.features)
    assert torch.equal((first.channel + 1) % CHANNELS, again.channel)
    monkeypatch.undo()
    other = make_composites(model, [tile_of(image)], says(step), cache, 1, 3, **VARIED)
    assert not torch.equal(first.features[:100], other.features[:100])


def test_neighbouring_planes_are_pasted_alike():
    model = create_model(ModelSpec(channels=CHANNELS, context_planes=1), in_channels=3)
    image, step = ramp()

    class Stack(ArraySource):
        """Planes that differ by their brightness."""

        def read(self, plane, box):
            return super().read(plane, box) * (1 + 0.2 * plane[0])

    def tile(plane):
        source = Stack("s", image)
        source.depth = 3
        return PaintedTile(source, (plane,), Box(0, 0, *step.shape), np.ones(step.shape, int))

    made = make_composites(model, [tile(0), tile(1)], says(step), FeatureCache(), 0, 4, **VARIED)
    width = model.head.widths[0] // 2
    own, beside = made.features[:, :width], made.features[:, width : 2 * width]
    assert made.features.shape[1] == sum(model.head.widths)
    assert not torch.allclose(own, beside)
    together = torch.corrcoef(torch.stack([own[:, 0], beside[:, 0]]))[0, 1]
    assert together > 0.95


def test_few_tiles_give_several_patches_and_many_tiles_one_of_some():
    def sides(number, height, width):
        tiles = [tile_of(np.zeros((1, height, width)), str(i)) for i in range(number)]
        patches = cut_patches(tiles, 0)
        for tile, box in patches:
            assert box.intersection(tile.box) == box
        return [box.shape for _, box in patches]

    assert sides(1, 512, 300) == [(256, 256)] * 16
    assert sides(3, 512, 512) == [(256, 256)] * 15
    assert sides(3, 256, 100) == [(100, 100)] * 3
    assert sides(40, 64, 64) == [(64, 64)] * 14
    assert sides(2, 31, 200) == []


def test_too_small_images_have_no_composites(model):
    tile = tile_of(np.zeros((3, 20, 200)))
    assert make_composites(model, [tile], lambda *_: None, FeatureCache(), 0, 8, **VARIED) is None


def test_masks_take_a_quarter_to_three_quarters_in_large_and_small_areas():
    rng = np.random.default_rng(0)
    masks = [random_mask((64, 64), rng) for _ in range(40)]
    shares = [mask.mean() for mask in masks]
    assert 0.24 < min(shares) < 0.35
    assert 0.65 < max(shares) < 0.76
    borders = [np.diff(mask, axis=0).mean() for mask in masks]
    assert max(borders) > 4 * min(borders) > 0


def test_composites_come_after_the_first_answer_and_more_with_each_round(monkeypatch):
    counts, looks = [], []

    def make(*given, **look):
        counts.append(given[-1])
        looks.append(look)
        return make_composites(*given, **look)

    monkeypatch.setattr(closed_form, "make_composites", make)
    sources = [
        ArraySource(str(i), np.moveaxis(two_areas(seed=i)[0], 2, 0), strokes(two_areas()[1]))
        for i in range(2)
    ]
    config = Config(model=ModelSpec(channels=CHANNELS), fit=FitConfig(round_seconds=600))
    teaching = Trainer(config, 3)
    for _ in range(3):
        teaching.train(sources)
    assert counts == [8, 16]
    saved = teaching.save()
    last = teaching.train(sources)
    assert counts[2:] == [24]
    # A worker that was killed makes the same ones again.
    again = Trainer.restore(*saved).train(sources)
    assert [p.total for p in again.losses] == [p.total for p in last.losses]
    alone = Trainer(config, 3)
    for _ in range(2):
        alone.train(sources[:1])
    assert counts[4:] == [8]  # on a single plane, too
    assert looks == [VARIED] * 4 + [{"light": True, "side": False}]


def test_there_is_a_limit():
    assert [how_many(rounds) for rounds in (0, 1, 2, 5, 100)] == [8, 8, 16, 40, 40]

from types import SimpleNamespace

import numpy as np
import pytest

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.predict import Prediction
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.strokes import predict_with_strokes
from napari_cas.engine.trainer import Trainer
from napari_cas.protocol import Box

from .conftest import strokes, two_areas

SIZE = (301, 419)  # nothing that a block, a tile or two would divide
WHOLE = Box(0, 0, *SIZE)


def model(channels=3, in_channels=1):
    return SimpleNamespace(stretch=1.0, channels=channels, in_channels=in_channels)


def said(seed=0, channels=3):
    """Return probabilities that say one channel on most of a plane, none of them on a corner."""
    rng = np.random.default_rng(seed)
    soft = rng.random((channels, *SIZE)).astype(np.float32) * 0.2
    soft[0] += 0.8
    soft /= soft.sum(0)
    soft[:, :20, :20] = 0
    return soft


def painted(seed=0, **options):
    """Return an image in two halves, with strokes of regions 4 and 9 and an unknown one."""
    image = np.random.default_rng(seed).normal(100, 4, (1, *SIZE)).astype(np.float32)
    image[..., 200:] += 50
    regions = np.zeros(SIZE, np.int64)
    regions[60:64, 190:240], regions[250:300, 410:415], regions[126:130, 30:90] = 4, 9, 5
    regions[10:14, 4:40] = 4
    return ArraySource("plane", image, regions, **options)


def run(source, box=WHOLE, tile=512, channel=None, soft=None):
    soft = said() if soft is None else soft

    def predict(part):
        some = soft[(slice(None), *part.slices)].copy()
        return Prediction(np.where(some.any(0), some.argmax(0) + 1, 0).astype(np.uint8), some)

    channel = {4: 1, 9: 2} if channel is None else channel
    return predict_with_strokes(model(len(soft)), source, (), box, tile, channel, predict)


def test_strokes_of_known_channels_are_followed():
    found = run(painted())
    assert (found.labels[60:64, 202:240] == 2).all()
    assert (found.labels[250:300, 410:415] == 3).all()
    assert (found.labels[126:130, 30:90] == 1).all()  # of a region of no known channel
    assert np.allclose(found.probabilities[:, 100:].sum(0), 1, atol=1e-5)
    assert (found.probabilities.argmax(0) + 1 == found.labels)[40:].all()


def test_where_the_network_says_nothing_strokes_do_not_either():
    found = run(painted())
    assert not found.labels[:20, :20].any()
    assert not found.probabilities[:, :20, :20].any()


def test_without_strokes_of_known_channels_the_network_alone_speaks():
    soft = said()
    found = run(painted(), channel={}, soft=soft)
    assert np.array_equal(found.probabilities, soft)


@pytest.mark.parametrize("tile", [64, 128, 192])
def test_tiles_fit_together(tile):
    whole, tiled = run(painted()), run(painted(), tile=tile)
    assert np.allclose(whole.probabilities, tiled.probabilities, atol=1e-5)


def test_a_part_is_as_in_the_whole():
    box = Box(37, 101, 131, 333)
    whole, part = run(painted()), run(painted(), box)
    assert part.labels.shape == box.shape
    expected = whole.probabilities[(slice(None), *box.slices)]
    assert np.allclose(expected, part.probabilities, atol=1e-5)


def test_what_is_painted_on_the_prediction_says_itself_what_it_is():
    corrections = np.zeros(SIZE, np.uint8)
    corrections[126:130, 30:90] = 3
    corrections[200:204, 30:90] = 7  # the network has no such channel
    found = run(painted(corrections=corrections), channel={})
    assert (found.labels[126:130, 34:86] == 3).all()
    assert (found.labels[195:210] == 1).all()


@pytest.mark.parametrize("name", ["quick", "lraspp_mobilenet_v3_large"])
def test_a_trainer_follows_what_it_has_not_learnt_from_yet(name):
    spec = ModelSpec(name=name, weights="none" if name != "quick" else "default", channels=4)
    image, truth = two_areas()
    image, paint = np.moveaxis(image, 2, 0), strokes(truth)
    trainer = Trainer(Config(model=spec, fit=FitConfig(crop_size=64)), 3, FeatureCache())
    trainer.train([ArraySource("a", image, paint)], steps=2)
    box = Box(0, 0, *truth.shape)
    before = trainer.predict(ArraySource("a", image, paint), (), box).labels
    place = np.s_[40:48, 20:40]
    other = int(before[place].max() % 4 + 1)
    corrections = np.zeros(truth.shape, np.uint8)
    corrections[place] = other
    more = ArraySource("a", image, paint, corrections=corrections)
    assert (trainer.predict(more, (), box).labels[place] == other).mean() > 0.9
    if name == "quick":  # it knows which channels regions have, too, and so does its checkpoint
        right = paint[paint > 0].max()
        paint[place] = right
        wanted = np.bincount(before[paint == right]).argmax()
        again = Trainer.restore(*trainer.save(), cache=trainer.cache)
        for one in (trainer, again):
            labels = one.predict(ArraySource("a", image, paint), (), box).labels
            assert (labels[place] == wanted).mean() > 0.9

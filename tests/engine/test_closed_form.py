import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine.closed_form import crowded_sentence
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import Trainer
from napari_cas.errors import CheckpointError, RegionError
from napari_cas.protocol import Box

from .conftest import strokes, two_areas

TRUTH = two_areas()[1]
ALL = Box(0, 0, *TRUTH.shape)
SQUARE = np.s_[8:40, 4:40]
STROKE = np.zeros(TRUTH.shape, np.int32)
STROKE[20:26, 10:30] = 5
CACHE = FeatureCache()  # of the one stem and of images that do not change
CONFIG = Config(model=ModelSpec(channels=4), fit=FitConfig(round_seconds=600))


def image(name, seed, painted=None, label=None, square=70):
    """Return two halves; in the left one is a square that looks like either."""
    pixels = two_areas(seed=seed)[0].astype(float)
    pixels[SQUARE] += square
    said = None if label is None else np.where(STROKE > 0, label, 0).astype(np.uint8)
    pixels = np.moveaxis(pixels.clip(0, 255).astype(np.uint8), 2, 0)
    return ArraySource(name, pixels, painted, corrections=said)


FIRST = image("first", 0, strokes(TRUTH), square=0)


@pytest.fixture(scope="module")
def learnt():
    """Return a checkpoint of two halves, and what labels left and right have."""
    trainer = Trainer(CONFIG, 3, CACHE)
    for _ in range(2):
        trainer.train([FIRST])
    labels = trainer.predict(FIRST, (), ALL).labels
    left, right = (int(np.bincount(labels[t == TRUTH]).argmax()) for t in (1, 2))
    assert left != right
    return trainer.save(), left, right


def a_few_rounds(trainer, sources):
    for _ in range(5):
        if trainer.train(sources).converged:
            break


def right_share(trainer, name, seed, labels, in_square=None):
    """Return the share of pixels with the labels of their halves, and of the square, if any."""
    square = 0 if in_square is None else 70
    found = trainer.predict(image(name, seed, square=square), (), ALL).labels
    wanted = np.where(TRUTH == 1, *labels)
    if square:
        wanted[SQUARE] = in_square
    return (found == wanted).mean()


def in_square(trainer, name="second", seed=1):
    return np.bincount(trainer.predict(image(name, seed), (), ALL).labels[SQUARE].ravel()).argmax()


@pytest.mark.parametrize("side", [0, 1])
def test_a_correction_is_of_the_kind_that_it_was_painted_as_and_the_rest_stays(learnt, side):
    saved, *labels = learnt
    trainer = Trainer.restore(*saved, cache=CACHE)
    a_few_rounds(trainer, [FIRST, image("second", 1, STROKE, labels[side])])
    assert in_square(trainer) == labels[side]
    assert right_share(trainer, "second", 1, labels, labels[side]) > 0.9
    assert right_share(trainer, "third", 2, labels, labels[side]) > 0.9
    assert right_share(trainer, "plain", 3, labels) > 0.95


def test_a_lone_region_does_not_count_until_its_kind_is_said(learnt):
    saved, *labels = learnt
    trainer = Trainer.restore(*saved, cache=CACHE)
    before = trainer.predict(image("second", 1), (), ALL).labels
    result = trainer.train([FIRST, image("second", 1, STROKE)], steps=5)
    (told,) = result.warnings
    assert told.startswith("Region 5 of second is alone on its plane")
    assert result.regions == 2
    after = trainer.predict(image("second", 1), (), ALL).labels
    assert (after == before)[TRUTH == 2].mean() > 0.9
    for label in labels:  # no stroke is new
        a_few_rounds(trainer, [FIRST, image("second", 1, STROKE, label)])
        assert in_square(trainer) == label


def test_nothing_but_a_lone_region_is_refused_with_the_reason(learnt):
    saved, *_ = learnt
    trainer = Trainer.restore(*elsewhere(saved), cache=CACHE)
    with pytest.raises(RegionError, match="Region 5 of second is alone"):
        trainer.train([image("second", 1, STROKE)])


def test_a_new_region_on_the_same_image_leaves_the_rest_as_it_was():
    trainer = Trainer(CONFIG, 3, CACHE)
    painted = strokes(TRUTH)
    a_few_rounds(trainer, [image("fourth", 4, painted)])
    labels = [int(trainer.predict(image("fourth", 4), (), ALL).labels[60, x]) for x in (20, 100)]
    painted[STROKE > 0] = 9
    a_few_rounds(trainer, [image("fourth", 4, painted)])
    new = in_square(trainer, "fourth", 4)
    assert new not in labels
    assert right_share(trainer, "fourth", 4, labels, new) > 0.9


@pytest.mark.parametrize(("channels", "crowded"), [(3, True), (4, True), (8, False)])
def test_where_kinds_fill_the_channels_more_are_recommended_once(channels, crowded):
    trainer = Trainer(CONFIG.model_copy(update={"model": ModelSpec(channels=channels)}), 3)
    truth = np.kron([[1, 2], [3, 4]], np.ones((48, 64), np.int32))
    painted = np.zeros_like(truth)
    painted[12:-12:12, 16:-16] = truth[12:-12:12, 16:-16]
    rng = np.random.default_rng(0)
    colours = np.array([[0, 0, 0], [230, 60, 60], [60, 220, 60], [60, 60, 240], [220, 220, 60]])
    sources = []
    for name in ("one", "two", "three"):
        pixels = (colours[truth] + rng.normal(0, 5, (*truth.shape, 3))).clip(0, 255)
        sources.append(ArraySource(name, np.moveaxis(pixels.astype(np.uint8), 2, 0), painted))
    results = [trainer.train(sources, steps=5) for _ in range(4)]
    said = [sentence for result in results for sentence in result.warnings]
    assert said == [crowded_sentence(channels)] * crowded
    # Where two of four colours have to share a channel, nobody calls them alike.
    assert [result.alike for result in results] == [()] * 4


def test_a_worker_that_was_killed_knows_what_was_accepted(learnt):
    saved, left, _ = learnt
    trainer = Trainer.restore(*saved, cache=CACHE)
    sources = [FIRST, image("second", 1, STROKE, left)]
    trainer.train(sources, steps=20)
    between = trainer.save()
    go_on = trainer.train(sources, steps=20)
    again = Trainer.restore(*between, cache=CACHE)
    assert [p.total for p in again.train(sources, steps=20).losses] == [
        p.total for p in go_on.losses
    ]
    assert torch.equal(again.model.head.linear_weight, trainer.model.head.linear_weight)


@pytest.mark.parametrize(
    "damage", [{"channel": {"5": 4}}, {"channel": {"5": "x"}}, {"corrected": "yes"}, {"plane": 3}]
)
def test_a_damaged_record_of_planes_is_refused(learnt, damage):
    (tensors, record), *_ = learnt
    planes = [record["training"]["planes"][0] | damage]
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer.restore(*elsewhere((tensors, record), planes), cache=CACHE)


def elsewhere(saved, planes=()):
    """Return a checkpoint as another project gets it: of none of its planes anything is known."""
    tensors, record = saved
    return tensors, record | {"training": record["training"] | {"planes": list(planes)}}


def test_of_a_model_from_elsewhere_a_correction_alone_is_enough(learnt):
    saved, *labels = learnt
    trainer = Trainer.restore(*elsewhere(saved), cache=CACHE)
    a_few_rounds(trainer, [image("second", 1, STROKE, labels[0])])
    for name, seed in (("second", 1), ("third", 2)):
        assert right_share(trainer, name, seed, labels, labels[0]) > 0.95
    assert right_share(trainer, "plain", 3, labels) > 0.95


def test_what_says_nothing_is_refused(learnt):
    saved, left, _ = learnt
    trainer = Trainer.restore(*elsewhere(saved), cache=CACHE)
    dark = ArraySource(
        "dark",
        np.moveaxis(two_areas(width=60)[0], 2, 0)[:, :, :28],
        STROKE[:, :28],
        corrections=np.where(STROKE, left, 0).astype(np.uint8)[:, :28],
    )
    with pytest.raises(RegionError, match="Only one kind is painted"):
        trainer.train([dark])

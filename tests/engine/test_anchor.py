import numpy as np
import pytest
import torch

from napari_cas.config import ModelSpec
from napari_cas.engine.anchor import Anchor, learn_borders, start_from_discriminant
from napari_cas.engine.composites import Composites
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.painting import painted_tiles
from napari_cas.engine.sampling import PixelSampler
from napari_cas.engine.sources import ArraySource
from napari_cas.models import create_model

from .conftest import agreement, strokes, two_areas

TRUTH = two_areas()[1]
CACHE = FeatureCache()  # the stem never changes, so its features may be shared


def sampler_of(model, *painted):
    """Return a sampler of the two-area images with these region maps."""
    sources = [
        ArraySource(f"{i}", np.moveaxis(two_areas(seed=i)[0], 2, 0), regions)
        for i, regions in enumerate(painted)
    ]
    return PixelSampler(model, painted_tiles(sources, 512), CACHE, 0)


@pytest.fixture
def model():
    return create_model(ModelSpec(channels=4), in_channels=3)


@pytest.fixture
def first(model):
    """Return a sampler of one painted image, whose discriminant is in the model's head."""
    sampler = sampler_of(model, strokes(TRUTH))
    model.head.standardise(sampler.features)
    start_from_discriminant(model.head, sampler, known=False)
    return sampler


@torch.no_grad()
def labels_of(model, seed):
    image = torch.from_numpy(np.moveaxis(two_areas(seed=seed)[0], 2, 0).astype(np.float32))
    return model(image[None])[0].argmax(0).numpy()


@torch.no_grad()
def channels_of(model, sampler):
    """Return the channel that most pixels of each region are in."""
    parts = model.head(sampler.features).argmax(1).split(sampler.count.tolist())
    return [int(part.bincount().argmax()) for part in parts]


@pytest.mark.usefixtures("first")
def test_the_head_segments_before_its_first_step(model):
    for seed in (0, 5):
        assert agreement(labels_of(model, seed), TRUTH) > 0.9


@pytest.mark.usefixtures("first")
def test_channels_stay_while_more_is_painted(model):
    # Where no channel is at its natural place, only taking over what was can keep it there.
    for buffer in (model.head.linear_weight, model.head.linear_bias):
        buffer.copy_(buffer.roll(1, 0).flip(0))
    before = labels_of(model, 5)
    # With other ids in another order, and one image more.
    more = sampler_of(model, strokes(TRUTH, (9, 4)), strokes(TRUTH))
    start_from_discriminant(model.head, more, known=False)
    assert agreement(before, TRUTH) > 0.9
    assert (labels_of(model, 5) == before).mean() > 0.95


def test_old_regions_keep_their_channels_when_a_new_kind_comes(model, first):
    before = channels_of(model, first)
    painted = strokes(TRUTH)
    painted[:8] = 3  # a bar across both areas is a kind of its own
    more = sampler_of(model, painted)
    start_from_discriminant(model.head, more, known=False)
    after = channels_of(model, more)
    assert after[:2] == before
    assert after[2] not in before


def test_known_paint_is_not_solved_again(model, first):
    model.head.linear_weight += 1
    before = model.head.linear_weight.clone()
    found = start_from_discriminant(model.head, first, known=True)
    assert found.group.tolist() == [0, 1]
    assert torch.equal(model.head.linear_weight, before)
    start_from_discriminant(model.head, first, known=False)
    assert not torch.equal(model.head.linear_weight, before)


def test_a_head_without_a_map_gets_one_though_the_paint_is_known(model, first):
    model.head.linear_weight.zero_()
    start_from_discriminant(model.head, first, known=True)
    assert model.head.linear_weight.any()


@pytest.fixture
def two(model):
    """Return a sampler of two painted images, and what was found from them, in the model's head."""
    sampler = sampler_of(model, strokes(TRUTH), strokes(TRUTH))
    model.head.standardise(sampler.features)
    return sampler, start_from_discriminant(model.head, sampler, known=False)


def composed(model, sampler, off):
    """Return painted pixels, each feature `off` by so much at random, in the channels they have."""
    noise = torch.randn(sampler.features.shape, generator=torch.Generator().manual_seed(0))
    channel = model.head(sampler.features).argmax(1)
    return Composites(sampler.features + off * noise / model.head.scale, channel)


@torch.no_grad()
def test_composites_change_the_map_and_leave_kinds_in_their_channels(model, two):
    for buffer in (model.head.linear_weight, model.head.linear_bias):
        buffer.copy_(buffer.roll(1, 0).flip(0))
    before, weight = labels_of(model, 5), model.head.linear_weight.clone()
    off = torch.zeros(weight.shape[1])
    off[: weight.shape[1] // 2] = 3
    learn_borders(model.head, *two, composed(model, two[0], off))
    assert (labels_of(model, 5) == before).mean() > 0.95
    after = model.head.linear_weight
    assert (weight.square().sum(1) > 0).equal(after.square().sum(1) > 0)
    half = [w[:, off > 0].square().sum() / w.square().sum() for w in (weight, after)]
    assert half[1] < 0.5 * half[0]


@torch.no_grad()
def test_channels_that_nothing_painted_shows_say_nothing(model, two):
    unused = int((model.head.linear_weight.square().sum(1) == 0).nonzero()[0])
    made = composed(model, two[0], torch.ones(1))
    before = model.head.linear_weight.clone()
    learn_borders(model.head, *two, made._replace(channel=made.channel * 0 + unused))
    assert torch.equal(model.head.linear_weight, before)
    some = made.channel.clone()
    some[::2] = unused
    learn_borders(model.head, *two, made._replace(channel=some))
    mixed = model.head.linear_weight.clone()
    rest = Composites(made.features[1::2], made.channel[1::2])
    learn_borders(model.head, *two, rest)
    torch.testing.assert_close(model.head.linear_weight, mixed)


@torch.no_grad()
def test_a_few_pixels_of_a_kind_do_not_count(model, two):
    made = composed(model, two[0], torch.ones(1))
    one, other = made.channel.unique().tolist()
    before = model.head.linear_weight.clone()
    few = (made.channel == one).nonzero()[:49, 0]
    learn_borders(model.head, *two, Composites(made.features[few], made.channel[few]))
    assert torch.equal(model.head.linear_weight, before)
    many = (made.channel == other).nonzero()[:60, 0]
    learn_borders(model.head, *two, Composites(made.features[many], made.channel[many]))
    alone = model.head.linear_weight.clone()
    both = torch.cat([few, many])
    learn_borders(model.head, *two, Composites(made.features[both], made.channel[both]))
    torch.testing.assert_close(model.head.linear_weight, alone)


def test_at_the_start_nothing_pulls(model, first):
    Anchor(model.head, first.probes, seed=0)(0).backward()
    for parameter in model.head.parameters():
        assert parameter.grad.abs().max() < 1e-5


def test_leaving_the_linear_map_costs_and_pulls_back(model, first):
    anchor = Anchor(model.head, first.probes, seed=0)
    start = anchor(0).item()
    costs = []
    for far in (1.0, 10.0, 100.0):
        with torch.no_grad():
            model.head.out.bias.copy_(torch.tensor([far, -far, 0.0, 0.0]))
        model.zero_grad()
        penalty = anchor(0)
        penalty.backward()
        costs.append(penalty.item() - start)
        # A step against the gradient goes back.
        assert model.head.out.bias.grad[0] > 1e-4
    assert 0 < costs[0] < costs[1] < costs[2]
    assert costs[2] > 10


def test_each_step_looks_at_other_pixels_and_again_at_the_same(model, first):
    anchor, again = (Anchor(model.head, first.probes, seed=0) for _ in range(2))
    assert anchor(0).item() == again(0).item()
    assert len({anchor(step).item() for step in range(4)}) == 4
    assert Anchor(model.head, first.probes, seed=1)(0).item() != anchor(0).item()

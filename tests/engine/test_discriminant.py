import pytest
import torch

from napari_cas.engine.discriminant import OUTSIDE, discriminate, with_borders

D, PER = 12, 80
NONE = torch.zeros(0, D)


def images(number, seed=0, kinds=3, light=0.3, per=PER):
    """Return features, kinds and planes of pixels: kinds differ in features 0 and 1 only.

    Each image has its own `light`, which shifts all other features together.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-0.6, 0.0], [0.6, 0.0], [0.0, 0.9]])[:kinds]
    kind = torch.cat([torch.randperm(kinds, generator=generator) for _ in range(number)])
    plane = torch.arange(number).repeat_interleave(kinds)
    shift = torch.zeros(D)
    shift[2:] = light
    features = 0.3 * torch.randn(len(kind), per, D, generator=generator)
    features[..., :2] += centres[kind][:, None]
    features += (torch.randn(number, 1, generator=generator) * shift)[plane][:, None]
    return features, kind, plane


def learn(features, plane, group=None, neighbours=NONE, channels=5):
    count = torch.full((len(plane),), features.shape[1])
    group = torch.arange(len(plane)) if group is None else group
    return discriminate(features.reshape(-1, D), count, plane, group, neighbours, channels)


def learn_varied(features, copies, plane):
    """Learn from regions (R, P, D) and copies of them, also (R, Q, D)."""
    both = torch.cat([features, copies], dim=1)
    count, more = (torch.full((len(plane),), f.shape[1]) for f in (features, both))
    varied = both.reshape(-1, D), more
    group = torch.arange(len(plane))
    return discriminate(features.reshape(-1, D), count, plane, group, NONE, 5, varied)


def labels(found, features):
    return (features @ found.weight.T + found.bias).argmax(-1)


def accuracy(found, taught, features, kind):
    """Return the share of pixels of regions of a `kind` that get that kind's channel."""
    channel = torch.full((int(kind.max()) + 1,), -1)
    channel[taught] = found.channel
    return float((labels(found, features) == channel[kind][:, None]).float().mean())


def pairs(one, other):
    return set(zip(one.tolist(), other.tolist(), strict=True))


def anywhere(reach, number=4000):
    """Return points of the cube of half side `reach`, corners among them."""
    generator = torch.Generator().manual_seed(2)
    points = reach * (2 * torch.rand(number, D, generator=generator) - 1)
    return torch.cat([points, reach * points.sign()])


def test_kinds_are_told_apart_in_images_it_has_not_seen():
    features, taught, plane = images(6)
    found = learn(features, plane)
    fresh, kind, _ = images(20, seed=1)
    assert accuracy(found, taught, fresh, kind) > 0.9


def test_light_that_differs_more_than_kinds_do_is_seen_through():
    features, taught, plane = images(6, light=1.0)
    fresh, kind, _ = images(20, seed=1, light=1.0)
    assert accuracy(learn(features, plane), taught, fresh, kind) > 0.9


def test_channels_are_kinds_though_ids_are_shuffled_on_every_plane():
    features, kind, plane = images(6)
    found = learn(features, plane)
    assert len(pairs(found.channel, kind)) == 3
    assert set(found.channel.tolist()) == {0, 1, 2}


def test_what_changes_from_image_to_image_has_no_weight():
    features, _, plane = images(6, light=1.0)
    found = learn(features, plane)
    assert found.weight[:, 2:].abs().mean() < 0.05 * found.weight[:, :2].abs().mean()


def test_copies_say_what_changes_though_the_painted_images_do_not_show_it():
    generator = torch.Generator().manual_seed(3)
    outer = torch.arange(D) >= 2

    def seen(number, seed, light):
        """Kinds differ in feature 2 as well, which changes with the light as all later ones do."""
        features, kind, plane = images(number, seed, light=0.0)
        features[..., 2] += features[..., 0]
        shift = light * torch.randn(number, 1, 1, generator=generator)[plane]
        return features + shift * outer, kind, plane

    features, taught, plane = seen(12, 0, 0.0)
    copies = features + torch.randn(len(plane), 1, 1, generator=generator) * outer
    found, plain = learn_varied(features, copies, plane), learn(features, plane)
    assert found.varied
    assert not plain.varied
    response = [w[:, 2:].sum(1).norm() for w in (found.weight, plain.weight)]
    assert response[0] < 0.5 * response[1]
    fresh, kind, _ = seen(20, 1, 1.0)
    assert accuracy(found, taught, fresh, kind) > accuracy(plain, taught, fresh, kind)


def test_copies_that_hide_what_tells_kinds_apart_do_not_count():
    features, _, plane = images(8)
    generator = torch.Generator().manual_seed(3)
    copies = features + 2 * torch.randn(len(plane), 1, D, generator=generator) * (
        torch.arange(D) < 2
    )
    found, plain = learn_varied(features, copies, plane), learn(features, plane)
    assert not found.varied
    assert torch.equal(found.weight, plain.weight)


@pytest.mark.parametrize("reach", [1, 5, 20])
def test_unused_channels_never_win_however_far_from_the_paint(reach):
    features, _, plane = images(3)
    found = learn(features, plane, channels=9)
    logits = anywhere(reach) @ found.weight.T + found.bias
    assert logits[:, 3:].max() < logits.max(1).values.min() - 5
    assert set(logits.argmax(1).tolist()) == {0, 1, 2}


def test_renaming_and_reordering_regions_and_planes_changes_nothing():
    features, _, plane = images(5)
    first = learn(features, plane)
    order = torch.randperm(len(plane), generator=torch.Generator().manual_seed(0))
    renamed = torch.tensor([3, 0, 4, 1, 2])[plane]
    other = learn(features[order], renamed[order])
    # The same partition; the channels may have other numbers.
    taken = dict(pairs(first.channel[order], other.channel))
    assert len(pairs(first.channel[order], other.channel)) == len(taken) == 3
    channel = torch.tensor([taken[c] for c in range(3)])
    fresh = images(5, seed=1)[0]
    one = (fresh @ first.weight.T + first.bias).softmax(-1)[..., :3]
    two = (fresh @ other.weight.T + other.bias).softmax(-1)[..., channel]
    assert torch.allclose(one, two, atol=1e-3)


def test_regions_taken_as_one_share_a_channel():
    features, _, plane = images(1)
    found = learn(features, plane, group=torch.tensor([0, 1, 0]))
    assert found.channel[0] == found.channel[2] != found.channel[1]


def test_regions_count_alike_whatever_their_size():
    features, kind, plane = images(4, per=600)
    count = torch.where(kind == 0, 600, 20)
    parts = [f[:n] for f, n in zip(features, count.tolist(), strict=True)]
    group = torch.arange(len(plane))
    found = discriminate(torch.cat(parts), count, plane, group, NONE, 5)
    fresh, fresh_kind, _ = images(20, seed=1)
    assert accuracy(found, kind, fresh, fresh_kind) > 0.9


@pytest.mark.parametrize("per", [1, PER])
def test_neighbours_say_what_is_noise(per):
    features, _, plane = images(1, light=0.0, per=per)
    # By chance, the strokes differ in feature 5 as well; beside the strokes it is only noise.
    features[1, :, 5] += 1.0
    generator = torch.Generator().manual_seed(0)
    apart = 0.3 * torch.randn(500, D, generator=generator)
    apart[:, 5] *= 5
    without = learn(features, plane).weight
    informed = learn(features, plane, neighbours=apart).weight
    share = [float(w[:, 5].norm() / w.norm()) for w in (without, informed)]
    assert share[1] < 0.5 * share[0]


def test_a_few_wild_pixels_do_not_spoil_it():
    features, taught, plane = images(6)
    features[::3, :2] = 1e4
    fresh, kind, _ = images(20, seed=1)
    assert OUTSIDE < 10
    assert accuracy(learn(features, plane), taught, fresh, kind) > 0.9


@pytest.mark.parametrize("neighbours", [NONE, torch.zeros(50, D)])
@pytest.mark.parametrize("constant", [slice(7, None), slice(1, None)])
def test_constant_features_do_no_harm(constant, neighbours):
    features, _, plane = images(3)
    features[..., constant] = 0.0
    found = learn(features, plane, neighbours=neighbours)
    assert found.weight.isfinite().all()
    assert found.bias.isfinite().all()
    assert found.weight[:, constant].abs().max() < 1e-3


def test_features_that_are_all_constant_give_finite_logits():
    found = learn(torch.zeros(2, PER, D), torch.tensor([0, 0]))
    assert found.weight.isfinite().all()
    assert found.bias.isfinite().all()
    assert set(labels(found, anywhere(5)).tolist()) <= set(found.channel.tolist())


def test_it_is_the_same_every_time():
    features, _, plane = images(4)
    assert torch.equal(learn(features, plane).weight, learn(features, plane).weight)


@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("per", [1, 2])
def test_strokes_of_a_pixel_or_two(per, neighbours):
    features, _, plane = images(1, per=per)
    beside = 0.3 * torch.randn(99, D, generator=torch.Generator().manual_seed(0))
    found = learn(features, plane, neighbours=beside if neighbours else NONE, channels=4)
    assert found.weight.isfinite().all()
    assert labels(found, features[:, 0]).tolist() == found.channel.tolist()


def beside(features, kind, blended, seed=3):
    """Return pixels (Q, D) of kinds (Q,), of which some features are mixed with other kinds'."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.stack([features[kind == k].mean((0, 1)) for k in range(int(kind.max()) + 1)])
    which = torch.randint(len(centres), (900,), generator=generator)
    pixels = centres[which] + 0.3 * torch.randn(900, D, generator=generator)
    share = torch.rand(900, 1, generator=generator)
    other = centres[torch.randint(len(centres), (900,), generator=generator)]
    pixels[:, blended] = share * pixels[:, blended] + (1 - share) * other[:, blended]
    return pixels, which


def learn_borders(found, features, pixels, kind):
    count = torch.full((len(features),), features.shape[1])
    weight, bias = with_borders(found, features.reshape(-1, D), count, pixels, kind)
    return found._replace(weight=weight, bias=bias)


@pytest.fixture(scope="module")
def bordered():
    """Kinds that differ in two more features, which blend beside borders; and what is learnt."""
    features, kind, plane = images(6)
    features[..., 4:6] = 2 * features[..., :2]
    found = learn(features, plane)
    channel = torch.stack([found.channel[kind == k][0] for k in range(3)])
    pixels, which = beside(features, kind, slice(4, 6))
    return features, found, pixels, channel[which]


def test_what_blends_beside_borders_has_less_weight(bordered):
    features, found, pixels, kind = bordered
    after = learn_borders(found, features, pixels, kind)
    share = [
        f.weight[:, 4:6].square().sum() / f.weight[:, :2].square().sum() for f in (found, after)
    ]
    assert share[1] < 0.5 * share[0]
    right = [(labels(f, pixels) == kind).float().mean() for f in (found, after)]
    assert right[1] > right[0] + 0.03
    painted = found.channel[:, None]
    assert (labels(after, features) == painted).float().mean() > 0.9


def test_as_many_more_pixels_of_the_same_say_the_same(bordered):
    features, found, pixels, kind = bordered
    once = learn_borders(found, features, pixels, kind)
    twice = learn_borders(found, features, pixels.repeat(2, 1), kind.repeat(2))
    torch.testing.assert_close(once.weight, twice.weight)


def test_kinds_count_alike_however_many_pixels_composites_show(bordered):
    features, found, _, _ = bordered
    # Each of two kinds is off in a feature of its own, one of them at a hundredth of the pixels.
    kind = torch.tensor([0] * 1000 + [1] * 10)
    off = torch.zeros(len(kind), D)
    off[kind == 0, 7], off[kind == 1, 8] = 1.0, 1.0
    more = learn_borders(found, features, found.centre[kind].float() + off, kind)
    expected = found.noise.clone()
    expected[7, 7] += 0.5
    expected[8, 8] += 0.5
    solved = torch.linalg.solve(expected, (found.centre - found.centre.mean(0)).T).T
    got = more.weight.double()
    assert torch.allclose(got / got.norm(), solved / solved.norm(), atol=1e-5)

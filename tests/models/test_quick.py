import pytest
import timm
import torch

from napari_cas.config import ModelSpec
from napari_cas.errors import ImageError, WeightsError
from napari_cas.models import QuickModel, create_model, quick
from napari_cas.models.pyramid import STRIDES, Window, enlarged, gather, turn_back
from napari_cas.models.weights import lite0_file, load_in_order, read_weights


@pytest.fixture(scope="module", params=[1, 2, 4])
def model(request):
    made = create_model(ModelSpec(channels=5, enlarge=request.param))
    made.head.standardise(torch.randn(500, sum(made.head.widths)) * 3 + 1)
    return made


def image(height=96, width=128, channels=3, seed=0):
    return (
        torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 255
    )


@torch.no_grad()
def test_logits_at_any_size(model):
    for height, width in ((96, 128), (33, 47), (5, 200)):
        assert model(image(height, width)).shape == (1, 5, height, width)


@torch.no_grad()
def test_head_on_points_equals_head_on_the_map(model):
    pyramid = model.features(image())
    y, x = torch.randint(96, (50,)), torch.randint(128, (50,))
    points = model.head(gather(pyramid, y, x))
    assert torch.allclose(points.T, model.head.map(pyramid)[0][:, y, x], atol=1e-3)


@torch.no_grad()
def test_a_window_equals_a_part_of_the_whole(model):
    whole = model.features(image())
    part = model.features(image(), Window(32, 64, 96, 128))
    for a, b, s in zip(whole, part, (1, 2, 4, 8, 16), strict=True):
        assert torch.allclose(a[..., 32 // s :, 64 // s :], b)


@torch.no_grad()
def test_every_second_pixel_of_the_map(model):
    pyramid = model.features(image())
    whole, some = model.head.map(pyramid), model.head.map(pyramid, step=2)
    assert torch.allclose(whole[..., 1::2, 1::2], some, atol=1e-4)


@torch.no_grad()
def test_some_channels_of_the_map_are_what_they_are_among_all():
    model = create_model(ModelSpec(channels=5), seed=1)
    torch.nn.init.normal_(model.head.out.weight)
    model.head.standardise(torch.randn(64, sum(model.head.widths)))
    assert model.head.used().tolist() == [0, 1, 2, 3, 4]  # all, as long as the map knows none
    assert model.known == ()
    model.head.linear_weight[[1, 4]] = torch.randn(2, sum(model.head.widths))
    used = model.head.used()
    assert used.tolist() == [1, 4]
    assert model.known == (2, 5)
    pyramid = model.features(image())
    some = model.head.map(pyramid, only=used)
    assert torch.allclose(some, model.head.map(pyramid)[:, used], atol=1e-4)


@torch.no_grad()
def test_backbone_is_the_published_one_looking_from_two_sides(model):
    # timm's own, its normalisation layers still in place.
    published = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_in_order(published, read_weights(lite0_file()), "shipped")

    def look(rgb):
        return published.forward_intermediates(rgb, indices=[0, 1, 2, 3], intermediates_only=True)

    times = model.stem.enlarge
    rgb = enlarged((image(64, 64) - 127) / 128, times)
    found = dict(zip(STRIDES, model.stem(image(64, 64), image(64, 64)), strict=True))
    widths = set()
    for stride, up, down in zip((2, 4, 8, 16), look(rgb), look(rgb.flip(2, 3)), strict=True):
        want = (up + turn_back(down, stride)) / 2
        if stride < times:  # finer than the image
            want = want[..., 1::2, 1::2]
        (one,) = (part for part in found[max(1, stride // times)] if part.shape[1] == want.shape[1])
        assert torch.allclose(one, want, atol=1e-4 * float(want.abs().max()))
        widths.add(one.shape[1])
    assert widths == {16, 24, 40, 112}


def test_backbone_is_frozen_and_shared(model):
    assert not any(p.requires_grad for p in model.stem.parameters())
    assert list(model.stem.parameters()) == []  # the network belongs to the process
    assert not model.train().stem.training
    model.eval()
    with pytest.raises(WeightsError):
        create_model(ModelSpec(weights="/no/such/file.pth"))


def test_only_the_head_is_saved(model):
    names = set(model.learned())
    assert {"mixing", "offset", "head.mean", "head.hidden.weight"} <= names
    assert not any("backbone" in name for name in names)


def test_learned_round_trip(model):
    other = create_model(ModelSpec(channels=5), seed=1)
    assert not torch.equal(model.head.hidden.weight, other.head.hidden.weight)
    other.load_learned(model.learned())
    with torch.no_grad():
        assert torch.equal(model(image()), other(image()))


def test_seed_decides_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (create_model(ModelSpec(weights="none"), seed=3) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.head.hidden.weight, second.head.hidden.weight)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12])
def test_channels(channels):
    model = create_model(ModelSpec(weights="none", channels=2), in_channels=channels)
    assert isinstance(model, QuickModel)
    x = image(64, 64, channels)
    assert model(x).shape == (1, 2, 64, 64)
    assert model.to_rgb(x).shape == (1, 3, 64, 64)
    guide = model.guide(model.features(x))
    assert guide.shape[0] <= 3
    with pytest.raises(ImageError, match=f"{channels}, H, W"):
        model(image(64, 64, channels + 1))


def test_one_channel_is_repeated_and_two_give_their_mean():
    one = create_model(ModelSpec(weights="none"), in_channels=1)
    x = image(8, 8, 1)
    assert torch.equal(one.to_rgb(x), x.expand(1, 3, 8, 8))
    two = create_model(ModelSpec(weights="none"), in_channels=2)
    y = image(8, 8, 2)
    assert torch.allclose(two.to_rgb(y)[:, 2], y.mean(1))


@pytest.mark.parametrize("enlarge", [1, 2, 4])
@pytest.mark.parametrize("context", [0, 1])
def test_the_deepest_features_are_those_of_the_last_level(monkeypatch, enlarge, context):
    model = QuickModel(3, 4, weights="none", context=context, enlarge=enlarge)
    image = torch.rand(1, 3, 64, 64) * 255
    before = described(model, image)
    plain = quick.from_two_sides

    def without_last(net, rgb):
        *levels, last = plain(net, rgb)
        return [*levels, torch.full_like(last, 7)]

    monkeypatch.setattr(quick, "from_two_sides", without_last)
    changed = (described(model, image) != before).any(0)
    assert changed.equal(model.deepest)


def described(model, image):
    """Return (P, D) features of some pixels, as the head sees them."""
    pyramid = model.with_context(model.features(image), ())
    return gather(pyramid, torch.arange(9, 60, 5), torch.arange(5, 56, 5))

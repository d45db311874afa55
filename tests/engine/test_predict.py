import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine.anchor import start_from_discriminant
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.painting import painted_tiles
from napari_cas.engine.predict import contrast, predict_box
from napari_cas.engine.sampling import PixelSampler
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import Trainer
from napari_cas.models import create_model
from napari_cas.models.quick import Head
from napari_cas.protocol import Box
from napari_cas.samples import load_sample

from .conftest import agreement, strokes, two_areas

SIZE = (200, 300)
WHOLE = Box(0, 0, *SIZE)


class Watched(ArraySource):
    """Remembers what was read and refuses what is not on the plane."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.boxes = []

    def read(self, plane, box):
        assert 0 <= box.y0 < box.y1 <= self.size[0]
        assert 0 <= box.x0 < box.x1 <= self.size[1]
        self.boxes.append(box)
        return super().read(plane, box)


def source(height=SIZE[0], width=SIZE[1], channels=3, painted=False):
    image, truth = two_areas(height, width, channels)
    return Watched("a", np.moveaxis(image, 2, 0), strokes(truth) if painted else None)


@pytest.fixture(scope="module")
def model():
    """Return a quick network that tells the two areas apart."""
    model = create_model(ModelSpec(channels=5), in_channels=3)
    sampler = PixelSampler(model, painted_tiles([source(painted=True)], 512), FeatureCache(), 0)
    model.head.standardise(sampler.features)
    start_from_discriminant(model.head, sampler, known=False)
    generator = torch.Generator().manual_seed(0)
    # As after training: the perceptron has its say.
    model.head.out.weight.data += 0.2 * torch.randn(
        model.head.out.weight.shape, generator=generator
    )
    return model


def predict(model, image, box=WHOLE, tile=4096, cache=None, **options):
    return predict_box(model, image, (), box, tile, cache or FeatureCache(), **options)


@pytest.fixture(scope="module")
def whole(model):
    """Return the prediction in one go, by whether it follows edges."""
    return {smooth: predict(model, source(), smooth=smooth) for smooth in (True, False)}


@pytest.mark.parametrize("smooth", [True, False])
def test_tiles_say_the_same_as_the_whole(model, whole, smooth):
    image = source()
    tiled = predict(model, image, tile=128, smooth=smooth)
    assert len(image.boxes) == 6
    assert (tiled.labels != whole[smooth].labels).mean() <= 0.001
    assert np.abs(tiled.probabilities - whole[smooth].probabilities).mean() < 1e-3


@pytest.mark.parametrize("name", ["cells", "tissue", "coffee"])
def test_seams_cannot_be_seen_in_real_images(name):
    """Small tiles have more border than those of the default size."""
    sample = load_sample(name)
    image = np.moveaxis(np.atleast_3d(sample.image), 2, 0)
    painted, size = ArraySource("a", image, sample.strokes), image.shape[1:]
    trainer = Trainer(Config(), painted.channels)
    trainer.train([painted], steps=10)
    one = predict(trainer.model, painted, Box(0, 0, *size))
    tiled = predict(trainer.model, painted, Box(0, 0, *size), tile=128)
    assert len(np.unique(one.labels)) > 1
    assert (tiled.labels != one.labels).mean() <= 0.001


@pytest.mark.parametrize("smooth", [True, False])
def test_probabilities_sum_to_one_and_the_largest_names_the_label(whole, smooth):
    labels, probabilities = whole[smooth]
    assert labels.shape == SIZE
    assert labels.dtype == np.uint8
    assert probabilities.shape == (5, *SIZE)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(0) + 1, labels)


def test_it_segments_and_following_edges_removes_specks(whole):
    truth = two_areas(*SIZE)[1]
    scores = {smooth: agreement(p.labels, truth) for smooth, p in whole.items()}
    assert scores[True] > 0.97
    assert scores[True] > scores[False]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(
    "box",
    [Box(0, 0, 1, 1), Box(199, 299, 200, 300), Box(60, 120, 70, 290), Box(3, 5, 197, 291)],
)
def test_a_box_is_a_part_of_the_whole(model, whole, box, smooth):
    found = predict(model, source(), box, smooth=smooth)
    assert found.labels.shape == box.shape
    part = whole[smooth].probabilities[(slice(None), *box.slices)]
    assert np.allclose(found.probabilities, part, atol=1e-4)


def test_a_box_over_several_tiles_is_put_together(model):
    box = Box(60, 130, 190, 290)
    tiled = predict(model, source(), tile=128)
    image, cache = source(), FeatureCache()
    found = predict(model, image, box, tile=128, cache=cache)
    assert np.allclose(
        found.probabilities, tiled.probabilities[(slice(None), *box.slices)], atol=1e-5
    )
    # What is once in memory is not read again.
    reads = len(image.boxes)
    assert 0 < reads < 6
    assert np.array_equal(predict(model, image, box, tile=128, cache=cache).labels, found.labels)
    assert len(image.boxes) == reads


def test_tiles_without_contrast_are_left_out_on_request(model):
    pixels = np.full((3, 128, 384), 90.0)
    pixels += np.random.default_rng(0).normal(0, 3, pixels.shape)
    pixels[:, :, :128] = np.moveaxis(two_areas(128, 128)[0], 2, 0)
    pixels[:, 60:70, 300:310] += 60  # something small is something
    image = ArraySource("a", pixels)
    found = predict(model, image, Box(0, 0, 128, 384), tile=128, skip_below=10)
    everything = predict(model, image, Box(0, 0, 128, 384), tile=128)
    assert not found.labels[:, 128:256].any()
    assert not found.probabilities[:, :, 128:256].any()
    for part in (slice(0, 128), slice(256, 384)):
        assert np.array_equal(found.labels[:, part], everything.labels[:, part])
    # A view of the empty part of a tile with something on it is predicted all the same.
    assert predict(model, image, Box(0, 370, 9, 384), tile=128, skip_below=10).labels.all()


@pytest.mark.parametrize("noise", [0, 2])
def test_contrast_is_that_of_blocks_in_percent(noise):
    image = np.random.default_rng(0).normal(50, noise, (2, 100, 75))
    image[1, :8, :8] += 25.5
    assert contrast(image.astype(np.float32)) == pytest.approx(10, abs=noise)


@pytest.mark.parametrize("box", [Box(5, 7, 5, 9), Box(200, 300, 200, 300)])
def test_an_empty_box_gives_an_empty_prediction(model, box):
    found = predict(model, source(), box, tile=128)
    assert found.labels.shape == box.shape
    assert found.probabilities.shape == (5, *box.shape)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 7), (33, 65)])
@pytest.mark.parametrize("smooth", [True, False])
def test_images_smaller_than_any_stride_are_predicted(model, size, smooth):
    image = Watched("a", two_areas(96, 128)[0].transpose(2, 0, 1)[:, : size[0], : size[1]])
    found = predict(model, image, Box(0, 0, *size), smooth=smooth)
    assert found.labels.min() >= 1
    assert np.allclose(found.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(channels):
    model = create_model(ModelSpec(channels=3, weights="none"), in_channels=channels)
    found = predict(model, source(64, 96, channels), Box(0, 0, 64, 96))
    assert np.allclose(found.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("smooth", [True, False])
def test_channels_that_no_kind_has_cost_nothing_and_change_nothing(smooth, monkeypatch):
    trainer = Trainer(Config(model=ModelSpec(channels=5)), 3)
    for _ in range(2):
        trainer.train([source(painted=True)], steps=40)
    used = trainer.model.head.used()
    assert len(used) == 2
    found = predict(trainer.model, source(), smooth=smooth).probabilities
    assert not np.delete(found, used, axis=0).any()
    monkeypatch.setattr(Head, "used", lambda head: torch.arange(len(head.linear_bias)))
    expected = predict(trainer.model, source(), smooth=smooth).probabilities
    assert np.delete(expected, used, axis=0).any()
    assert np.abs(found - expected).max() < 1e-4


def test_a_whole_network_predicts_two_tiles_a_side_in_one_go_once():
    spec = ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=4)
    model, image, plane = create_model(spec, in_channels=3), source(200, 256), Box(0, 0, 200, 256)
    model.eval()
    cache, tiled = FeatureCache(), np.zeros((4, 200, 256), np.float32)
    for box in (Box(0, 0, 128, 128), Box(0, 128, 128, 256), Box(128, 0, 200, 256)):
        part = predict(model, image, box, tile=128, cache=cache)
        tiled[(slice(None), *box.slices)] = part.probabilities
    assert image.boxes == [plane]
    whole = predict(model, source(200, 256), plane)
    assert np.array_equal(tiled, whole.probabilities)


def test_a_whole_network_that_has_learnt_says_something_else():
    spec = ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=4)
    config = Config(model=spec, fit=FitConfig(crop_size=64, batch_size=2))
    trainer, image, box = Trainer(config, 3), source(painted=True), Box(0, 0, 64, 64)
    trainer.train([image], steps=1)
    before = trainer.predict(image, (), box)
    reads = len(image.boxes)
    assert np.array_equal(trainer.predict(image, (), box).labels, before.labels)
    assert len(image.boxes) == reads  # remembered
    trainer.train([image], steps=2)
    after = trainer.predict(image, (), box)
    restored = Trainer.restore(*trainer.save())
    assert not np.array_equal(after.probabilities, before.probabilities)
    assert np.allclose(
        restored.predict(image, (), box).probabilities, after.probabilities, atol=1e-6
    )
    trainer.forget_images()
    other = source()
    other._image = other._image[:, ::-1]
    assert not np.array_equal(trainer.predict(other, (), box).probabilities, after.probabilities)


def test_a_whole_network_sees_a_tile_and_its_surroundings_on_the_plane_only():
    spec = ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=4)
    model = create_model(spec, in_channels=3)
    image, plane = source(64, 600), Box(0, 0, 64, 600)
    found = predict(model, image, plane, tile=128)
    assert np.allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert found.labels.min() >= 1
    # Tiles of 128 pixels, and 288 around.
    assert image.boxes[:2] == [Box(0, 0, 64, 416), Box(0, 0, 64, 544)]
    box = Box(10, 120, 50, 290)
    part = predict(model, source(64, 600), box, tile=128)
    assert np.allclose(
        part.probabilities, found.probabilities[(slice(None), *box.slices)], atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("fcn_resnet50", 1024),
        ("lraspp_mobilenet_v3_large", 1280),
        pytest.param("deeplabv3_resnet50", 1792, marks=pytest.mark.slow),
    ],
)
def test_tiles_of_a_whole_network_say_the_same_as_the_whole(name, width):
    """Planes of more than two tiles, the context of which does not reach from end to end."""
    model = create_model(ModelSpec(name=name, weights="none", channels=4), in_channels=3)
    plane = Box(0, 0, 32, width)
    one, image = predict(model, source(32, width), plane), source(32, width)
    tiled = predict(model, image, plane, tile=256)
    assert len(image.boxes) == width // 256
    assert all(box.shape[1] < width for box in image.boxes)
    spread = one.probabilities.max() - one.probabilities.min()
    assert np.abs(tiled.probabilities - one.probabilities).max() < 1e-5 * spread
    assert (tiled.labels != one.labels).mean() <= 0.001


def test_tiles_without_data_are_not_looked_at():
    image, _ = two_areas(*SIZE)
    gaps = np.moveaxis(image.astype(np.float32), 2, 0).copy()
    gaps[:, :, 130:] = np.nan
    seen = Watched("a", gaps)
    model = create_model(ModelSpec(weights="none", channels=4)).eval()
    found = predict_box(model, seen, (), WHOLE, 64, FeatureCache())
    assert found.labels[:, :130].all()
    assert not found.labels[:, 130:].any()
    assert not found.probabilities[:, :, 130:].any()
    assert max(box.x0 for box in seen.boxes) < 130

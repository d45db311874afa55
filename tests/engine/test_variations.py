import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.config import ModelSpec
from napari_cas.engine.features import FeatureCache, tile_features
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.variations import (
    Variation,
    shared_out,
    varied_features,
)
from napari_cas.models import create_model
from napari_cas.models.pyramid import gather
from napari_cas.protocol import Box

UNCHANGED = Variation(np.ones(3, np.float32), 0.0, 1.0, 0, False)


def picture(height=96, width=130, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), np.uint8)


@pytest.fixture(scope="module")
def model():
    return create_model(ModelSpec(channels=4), in_channels=3)


@given(turns=st.integers(0, 3), mirrored=st.booleans())
def test_pixels_are_found_again_in_the_copy(turns, mirrored):
    image = picture(5, 8).astype(np.float32)
    y, x = (i.ravel() for i in np.indices((5, 8)))
    variation = UNCHANGED._replace(turns=turns, mirrored=mirrored)
    copy = variation.apply(image)
    row, column = variation.move(y, x, (5, 8))
    np.testing.assert_allclose(copy[:, row, column], image[:, y, x], atol=1e-4)


def test_light_changes_by_gain_offset_and_gamma_within_the_range():
    image = np.full((2, 1, 3), 51.0, np.float32)  # 0.2 of the usual range
    image[:, 0, 1], image[:, 0, 2] = -51.0, 510.0
    variation = Variation(np.array([2.0, 1.0], np.float32), 0.1, 2.0, 0, False)
    found = variation.apply(image)
    assert found[0, 0, 0] == pytest.approx(255 * (0.04 * 2 + 0.1))
    assert found[1, 0, 0] == pytest.approx(255 * (0.04 + 0.1))
    assert found[1, 0, 1] == pytest.approx(255 * (-0.04 + 0.1))
    assert found[0, 0, 2] == 510.0


def test_draws_differ_and_are_of_each_symmetry():
    rng = np.random.default_rng(0)
    drawn = [Variation.draw(3, rng) for _ in range(200)]
    assert {(v.turns, v.mirrored) for v in drawn} == {(t, m) for t in range(4) for m in (0, 1)}
    gains = np.log([v.gain for v in drawn])
    assert abs(gains.mean()) < 0.05
    assert gains.std() == pytest.approx(0.2, abs=0.03)


def test_a_single_plane_is_not_varied_and_many_tiles_share_what_it_may_cost():
    assert shared_out(3, 1, 2) == []
    assert shared_out(2, 2, 2) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert shared_out(5, 5, 0) == []
    for tiles in (20, 33, 500):
        pairs = shared_out(tiles, tiles, 2)
        assert 16 <= len(pairs) <= 32
        assert len(set(pairs)) == len(pairs)


def test_features_of_an_unchanged_copy_are_those_of_the_image(model, monkeypatch):
    monkeypatch.setattr(Variation, "draw", lambda *_: UNCHANGED)
    source = ArraySource("a", picture())
    y, x = np.array([40, 41, 80]), np.array([50, 120, 3])
    found = varied_features(model, source, (), (y, x), [0])
    pyramid = tile_features(model, source, (), Box(0, 0, 96, 130), FeatureCache())
    wanted = gather(pyramid, torch.from_numpy(y), torch.from_numpy(x))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_a_copy_depends_on_image_and_seed_alone(model):
    pixels = np.array([10, 20]), np.array([30, 5])
    one = varied_features(model, ArraySource("a", picture()), (), pixels, [0, 1])
    again = varied_features(model, ArraySource("a", picture()), (), pixels, [0, 1])
    assert torch.equal(one, again)
    for other in (
        varied_features(model, ArraySource("a", picture()), (), pixels, [0, 2]),
        varied_features(model, ArraySource("b", picture()), (), pixels, [0, 1]),
    ):
        assert not torch.allclose(one, other, atol=1e-2)

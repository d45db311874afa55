import pytest
import torch

from napari_cas.models.smoothing import REACH, follow_edges


@pytest.fixture
def halves():
    """An image of two areas, and noisy probabilities for two channels."""
    generator = torch.Generator().manual_seed(0)
    guide = torch.zeros(1, 128, 128)
    guide[:, :, 66:] = 0.5
    right = (guide[0] > 0).float() * 0.4 + 0.3
    right = (right + 0.3 * torch.randn(128, 128, generator=generator)).clamp(0, 1)
    return guide, torch.stack([1 - right, right])


def test_noise_vanishes_and_the_edge_stays(halves):
    guide, noisy = halves
    smooth = follow_edges(noisy, guide)
    truth = guide[0] > 0
    assert ((noisy[1] > 0.5) == truth).float().mean() < 0.85
    assert ((smooth[1] > 0.5) == truth).float().mean() > 0.999


def test_they_stay_probabilities(halves):
    guide, noisy = halves
    smooth = follow_edges(noisy, guide)
    assert float(smooth.min()) >= 0
    assert torch.allclose(smooth.sum(0), torch.ones(128, 128), atol=1e-5)


def test_a_constant_image_only_averages():
    even = torch.rand(3, 64, 64).softmax(0)
    smooth = follow_edges(even, torch.full((3, 64, 64), 0.4))
    assert smooth.std() < 0.5 * even.std()
    assert torch.allclose(smooth.mean((1, 2)), even.mean((1, 2)), atol=0.01)


def test_nothing_reaches_further_than_stated():
    guide, values = torch.rand(3, 256, 256), torch.rand(2, 256, 256).softmax(0)
    changed = values.clone()
    changed[:, :8, :8] = torch.tensor([1.0, 0.0])[:, None, None]
    moved = (follow_edges(values, guide) - follow_edges(changed, guide)).abs().amax(0) > 1e-6
    assert moved.any()
    rows, columns = moved.nonzero().T
    assert int(rows.max()) < 8 + REACH
    assert int(columns.max()) < 8 + REACH


def test_a_quarter_of_the_pixels_says_nearly_the_same(halves):
    guide, noisy = halves
    whole, some = follow_edges(noisy, guide), follow_edges(noisy[:, 1::2, 1::2], guide)
    assert ((whole[1] > 0.5) == (some[1] > 0.5)).float().mean() > 0.99


def test_a_stripe_that_colours_do_not_show_survives():
    # Two textures of the same colours: only the probabilities know where one ends.
    guide = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    stripe = torch.zeros(128, 128)
    stripe[:, 52:76] = 1
    sure = 0.2 + 0.6 * stripe
    smooth = follow_edges(torch.stack([1 - sure, sure]), guide)
    assert ((smooth[1] > 0.5) == (stripe > 0)).float().mean() > 0.92


def test_what_is_between_dark_and_bright_is_kept_where_it_is_narrow():
    # Like the grey matter of a brain: no affine function of the brightness is high there alone.
    guide = torch.full((1, 128, 128), 0.1)
    guide[:, :, 40:] = 0.5
    guide[:, :, 46:] = 0.9
    guide[:, 64:] = guide[:, :64].flip(2)
    kinds = torch.bucketize(guide[0], torch.tensor([0.3, 0.7]))
    sure = torch.nn.functional.one_hot(kinds).permute(2, 0, 1) * 0.7 + 0.1
    smooth = follow_edges(sure, guide)
    assert (smooth.argmax(0) == kinds)[kinds == 1].float().mean() > 0.95
    assert (smooth.argmax(0) == kinds).float().mean() > 0.99


def test_noise_of_the_image_is_not_taken_for_edges():
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(128, 128)
    truth[:, 66:] = 1
    guide = 0.4 + 0.1 * truth + 0.1 * torch.randn(128, 128, generator=generator)
    soft = 0.3 + 0.4 * truth + 0.1 * torch.randn(128, 128, generator=generator)
    smooth = follow_edges(torch.stack([1 - soft, soft]).clamp(0, 1), guide[None])
    assert smooth[1, :, :56].std() < 0.03
    assert ((smooth[1] > 0.5) == (truth > 0)).float().mean() > 0.98

import pytest
import torch

from napari_cas.models.filters import FilterBank


def filtered(bank, image):
    return [torch.cat(parts, dim=1) for parts in bank(image)]


@pytest.mark.parametrize("channels", [1, 3, 8, 11])
def test_widths_and_strides(channels):
    bank = FilterBank(channels)
    levels = filtered(bank, torch.rand(2, channels, 64, 96) * 255)
    assert [tuple(level.shape) for level in levels] == [
        (2, width, 64 // s, 96 // s) for width, s in zip(bank.widths, (1, 2, 4, 8), strict=True)
    ]


def test_constant_image_has_no_derivatives():
    levels = filtered(FilterBank(1), torch.full((1, 1, 64, 64), 191.0))
    assert torch.allclose(levels[0][:, 0], torch.ones(1), atol=1e-6)
    for level in levels[1:]:
        gaussian, *derivatives = level[0]
        assert torch.allclose(gaussian, torch.ones(()), atol=1e-5)
        assert max(float(d.abs().max()) for d in derivatives) < 1e-3


def test_gradient_of_a_ramp_and_curvature_of_a_parabola():
    x = torch.arange(128.0).expand(1, 1, 128, 128)
    # One unit of the bank per 64 grey values.
    ramp = filtered(FilterBank(1), x + 127)[0][0]
    gaussian, gradient, larger, smaller = (m[32:96, 32:96] for m in ramp[1:5])
    assert torch.allclose(gradient, torch.tensor(0.7 / 64), rtol=1e-3)
    assert float(larger.abs().max()) < 1e-3
    parabola = filtered(FilterBank(1), (x - 64) ** 2 / 16 + 127)[0][0]
    larger, smaller = (m[32:96, 32:96] for m in parabola[3:5])
    assert torch.allclose(larger, torch.tensor(2 / 16 / 64 * 0.7**2), rtol=1e-2)
    assert float(smaller.abs().max()) < 1e-4
    assert gaussian.shape == (64, 64)


def test_eigenvalues_do_not_depend_on_orientation():
    image = torch.rand(1, 1, 64, 64) * 255
    for level, turned in zip(
        filtered(FilterBank(1), image),
        filtered(FilterBank(1), image.transpose(2, 3)),
        strict=True,
    ):
        assert torch.allclose(level.transpose(2, 3), turned, atol=1e-4)


def test_image_is_recovered():
    image = torch.rand(1, 3, 32, 32) * 255
    bank = FilterBank(3)
    assert torch.allclose(bank.image(filtered(bank, image)[0]) * 255, image, atol=1e-3)

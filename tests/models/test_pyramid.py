import torch
from torch.nn import functional as F  # noqa: N812

from napari_cas.models.pyramid import (
    STRIDES,
    Window,
    crop,
    double,
    enlarged,
    gather,
    turn_back,
    with_margin,
)


def make(height=96, width=64, channels=3):
    levels = [torch.rand(1, channels, height // s, width // s) for s in STRIDES]
    return levels, with_margin([[level] for level in levels], Window(0, 0, height, width))


def upsampled(level, stride):
    while stride > 1:
        level, stride = double(level), stride // 2
    return level


def test_cells_lie_on_the_last_pixel_of_their_block():
    levels, pyramid = make()
    for level, own, s in zip(levels, pyramid, STRIDES, strict=True):
        full = upsampled(own, s)[..., 1:, 1:]
        assert torch.allclose(full[..., s - 1 :: s, s - 1 :: s], level, atol=1e-6)


def test_doubling_repeatedly_is_one_bilinear_interpolation():
    _, pyramid = make()
    for level, s in zip(pyramid, STRIDES, strict=True):
        size = [s * (n - 1) + 1 for n in level.shape[-2:]]
        once = F.interpolate(level, size=size, mode="bilinear", align_corners=True)
        assert torch.allclose(upsampled(level, s), once, atol=1e-5)


def test_gathering_equals_upsampling():
    _, pyramid = make()
    y, x = torch.meshgrid(torch.arange(96), torch.arange(64), indexing="ij")
    points = gather(pyramid, y.flatten(), x.flatten())
    full = torch.cat(
        [upsampled(level, s)[0, :, 1:, 1:] for level, s in zip(pyramid, STRIDES, strict=True)]
    )
    assert torch.allclose(points.T.view_as(full), full, atol=1e-5)


def test_a_window_keeps_its_neighbours_values():
    levels, pyramid = make()
    window = Window(32, 16, 64, 64)
    cut, cropped = with_margin([[level] for level in levels], window), crop(pyramid, window)
    whole = torch.cat(
        [upsampled(level, s)[0, :, 1:, 1:] for level, s in zip(pyramid, STRIDES, strict=True)]
    )
    for part in (cut, cropped):
        full = torch.cat(
            [upsampled(level, s)[0, :, 1:, 1:] for level, s in zip(part, STRIDES, strict=True)]
        )
        assert torch.allclose(full, whole[:, 32:64, 16:64], atol=1e-5)


def test_parts_are_put_together_in_their_order():
    levels, pyramid = make(channels=5)
    parts = [level.split([2, 3], dim=1) for level in levels]
    for one, other in zip(pyramid, with_margin(parts, Window(0, 0, 96, 64)), strict=True):
        assert torch.equal(one, other)


def test_cells_of_a_turned_image_come_back_to_their_own_pixels():
    for s in STRIDES:
        rows, columns = torch.arange(s - 1, 96, s).float(), torch.arange(s - 1, 64, s).float()
        level = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
        turned = torch.tensor([95.0, 63.0])[None, :, None, None] - level
        back = turn_back(turned, s)
        assert torch.allclose(back[..., :-1, :-1], level[..., :-1, :-1], atol=1e-4)
        assert torch.allclose(back[0, 0, -1], torch.tensor(96.0 - s))  # nothing lies beyond it


def test_an_enlarged_image_has_the_same_nested_grid():
    image = torch.rand(1, 2, 6, 10)
    for times in (1, 2, 4):
        large = enlarged(image, times)
        assert large.shape == (1, 2, 6 * times, 10 * times)
        assert torch.allclose(large[..., times - 1 :: times, times - 1 :: times], image)
    between = enlarged(image, 2)[..., 1::2, 2::2]
    assert torch.allclose(between, (image[..., :-1] + image[..., 1:])[..., :9] / 2)

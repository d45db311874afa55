import numpy as np
import torch

from napari_cas.engine.crops import CropSampler
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.painting import painted_tiles
from napari_cas.engine.sources import ArraySource


class Reads(ArraySource):
    """Counts how often pixels are read."""

    reads = 0

    def read(self, plane, box):
        self.reads += 1
        return super().read(plane, box)


def source(regions, name="a", seed=0):
    regions = np.asarray(regions)
    return Reads(name, np.random.default_rng(seed).random((2, *regions.shape)), regions)


def sampler(*sources, crop=64, batch=2, seed=0, tile=512):
    tiles = painted_tiles(sources, tile)
    return CropSampler(
        tiles, FeatureCache(), crop=crop, batch=batch, seed=seed, device=torch.device("cpu")
    )


def corners(height, width, size=4):
    """Return a different region in each corner and one in the middle."""
    regions = np.zeros((height, width), int)
    regions[:size, :size], regions[:size, -size:] = 1, 2
    regions[-size:, :size], regions[-size:, -size:] = 3, 4
    regions[height // 2 : height // 2 + size, width // 2 : width // 2 + size] = 5
    return regions


def test_every_painted_pixel_is_seen_up_to_the_last_row_and_column():
    # No length is a multiple of the grid that crops start on.
    regions = np.zeros((149, 203), int)
    regions[:, :3], regions[:, -3:], regions[-3:, 3:-3] = 1, 2, 3
    crops = sampler(source(regions), batch=3)
    seen = {}
    for step in range(150):
        inputs, index = crops.batch(step)
        for crop in range(3):
            values = inputs[crop, :, index.index[crop] >= 0]
            seen.update(dict.fromkeys(map(tuple, values.T.tolist())))
    assert len(seen) == np.count_nonzero(regions)


def test_each_crop_holds_its_region_so_that_a_step_has_two_to_tell_apart():
    crops = sampler(source(corners(300, 310)), crop=64, batch=5)
    for step in range(10):
        _, regions = crops.batch(step)
        assert len(regions.count) == 5
        assert regions.n_planes == 1


def test_pixels_and_regions_of_a_crop_belong_together():
    regions = np.zeros((150, 170), int)
    regions[40:60, 30:90], regions[100:120, 100:160] = 7, 3
    image = np.zeros((1, 150, 170))
    image[0][regions == 7], image[0][regions == 3] = 1.0, 2.0
    crops = sampler(ArraySource("a", image, regions))
    for step in range(5):
        inputs, found = crops.batch(step)
        values = [inputs[:, 0][found.index == r].unique().tolist() for r in range(len(found.count))]
        assert all(len(v) == 1 for v in values)
        assert len({v[0] for v in values}) == len(values) == 2


def test_crops_of_one_plane_share_its_regions_and_planes_do_not():
    one, other = source(corners(100, 100)), source(corners(100, 100), "b")
    _, regions = sampler(one, other, batch=4, crop=128).batch(0)
    # Each plane's five regions are in both of its crops but counted once.
    assert regions.n_planes == 2
    assert torch.bincount(regions.plane).tolist() == [5, 5]
    assert regions.count.tolist() == [32] * 10


def test_a_plane_with_a_single_region_is_left_out():
    alone = np.zeros((100, 100), int)
    alone[5:9, 5:9] = 1
    crops = sampler(source(corners(100, 100)), source(alone, "b"), batch=4)
    for step in range(5):
        assert crops.batch(step).regions.n_planes == 1


def test_tiles_of_one_plane_are_one_plane():
    regions = np.zeros((300, 600), int)
    regions[10:20, 10:20], regions[280:290, 580:590] = 1, 2
    crops = sampler(source(regions), tile=128)
    for step in range(5):
        assert crops.batch(step).regions.count.tolist() == [100, 100]


def test_steps_repeat_for_a_seed_and_differ_from_one_another():
    one = source(corners(300, 310))
    first, again, other = sampler(one), sampler(one), sampler(one, seed=1)
    assert torch.equal(first.batch(3).inputs, again.batch(3).inputs)
    assert not torch.equal(first.batch(3).inputs, first.batch(4).inputs)
    assert not torch.equal(first.batch(3).inputs, other.batch(3).inputs)
    assert torch.equal(first.probes, again.probes)


def test_crops_come_again_from_memory():
    one = source(corners(200, 200))
    crops = sampler(one, crop=128)
    for step in range(40):
        crops.batch(step)
    assert one.reads < 40  # of the 80 that were asked for


def test_a_small_image_is_padded_by_its_border_without_paint():
    crops = sampler(source(corners(40, 50)), crop=64)
    inputs, regions = crops.batch(0)
    assert inputs.shape == (2, 2, 64, 64)
    assert torch.equal(inputs[:, :, 40:, :50], inputs[:, :, 39:40, :50].expand(-1, -1, 24, -1))
    assert (regions.index[:, 40:] < 0).all()
    assert (regions.index[:, :, 50:] < 0).all()

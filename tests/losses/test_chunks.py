from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_cas.losses import cas_loss
from napari_cas.losses.chunks import Buffers, buffers_for, chunks


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 64, 70_001), (1, 2, 1_000_003), (2, 4, 0)])
def test_chunks_cover_every_pixel_once(shape):
    seen = torch.zeros(shape[0], shape[2], dtype=torch.int64)
    for chunk in chunks(torch.empty(shape)):
        part = seen[chunk.first_item : chunk.end_item, chunk.first_pixel : chunk.end_pixel]
        assert part.numel() == chunk.pixels
        part += 1
    assert bool((seen == 1).all())


def test_working_memory_is_used_again():
    buffers = Buffers()
    large = buffers.take("work", torch.empty(0), (3, 50), torch.float32)
    small = buffers.take("work", torch.empty(0), (2, 20), torch.float32)
    wide = buffers.take("work", torch.empty(0), (2, 20), torch.float64)
    assert small.data_ptr() == large.data_ptr() != wide.data_ptr()
    assert small.shape == wide.shape == (2, 20)
    assert small.is_contiguous()


def test_threads_do_not_write_into_each_others_working_memory():
    def address():
        buffers = buffers_for(torch.device("cpu"))
        return buffers.take("work", torch.empty(0), (8, 64), torch.float32).data_ptr()

    with ThreadPoolExecutor(1) as other:
        assert other.submit(address).result() != address() == address()


def test_a_loss_in_inference_mode_leaves_memory_that_training_can_write_to():
    regions = torch.arange(4000).view(1, 4000) // 1000 + 1

    def both():
        logits = torch.linspace(-1, 1, 16_000).view(1, 4, 4000).requires_grad_()
        with torch.inference_mode():
            first = cas_loss(logits, regions)
        second = cas_loss(logits, regions)
        second.backward()
        return [first.item(), second.item()]

    with ThreadPoolExecutor(1) as fresh:
        first, second = fresh.submit(both).result()
    assert first == second

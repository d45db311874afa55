import numpy as np
import pytest
import torch

from napari_cas.config import Config
from napari_cas.metrics.regions import adjusted_rand_index
from napari_cas.models import create_model
from training import bench_ablation, deeper
from training.deeper import Lesson, OwnStem


def halves(seed, height=96, width=128):
    rng = np.random.default_rng(seed)
    truth = np.where(np.arange(width) < width // 2, 1, 2) * np.ones((height, 1), np.int32)
    image = rng.normal(90, 8, (height, width, 3)) + 60 * (truth == 2)[..., None]
    return image.clip(0, 255).astype(np.uint8), truth.astype(np.int32)


def test_the_encoder_learns_and_that_of_others_stays(monkeypatch):
    monkeypatch.setattr(deeper, "STEPS", 10)
    taught = []
    monkeypatch.setattr(deeper, "apply", lambda trainer, _: taught.append(trainer))
    method = bench_ablation.VARIANTS["fine-tuned deeper"].method
    shared = create_model(Config().model, 3, 0).stem.network(torch.device("cpu"))
    before = [value.clone() for value in shared.parameters()]
    image, truth = halves(0)
    painted = np.where(np.arange(96)[:, None] % 40 == 20, truth, 0)
    method([image], [painted], [image], 0)
    own = taught[0].model.stem.own
    assert all(map(torch.equal, before, shared.parameters()))
    pairs = zip(before, own.parameters(), strict=True)
    seen = [(old, new) for old, new in pairs if new.grad is not None]  # its last stage has no say
    assert len(seen) > len(before) / 2
    assert not any(torch.equal(old, new) for old, new in seen)


def test_it_says_of_other_images_what_it_was_told(monkeypatch):
    monkeypatch.setattr(deeper, "STEPS", 25)
    image, truth = halves(1)
    painted = np.where(np.arange(96)[:, None] % 40 == 20, truth, 0)
    other, wanted = halves(2)
    found = deeper.deeper([image], [painted], [other], 0)
    assert adjusted_rand_index(wanted, found.labels[0]) > 0.9
    assert found.fit_seconds > 0


def test_one_side_of_what_learns_is_what_the_stem_sees_of_it():
    model = create_model(Config().model, 3, 0)
    stem = OwnStem(model.stem, 3)
    image = torch.rand(1, 3, 64, 96) * 255
    seen = stem.seen(image, image)
    assert [level.shape[-2:] for level in seen] == [
        level.shape[-2:] for level in model.features(image)
    ]
    assert [level.shape[1] for level in seen] == list(stem.widths)
    assert seen[-1].requires_grad


@pytest.mark.parametrize("size", [(40, 300), (200, 170)])
def test_pieces_of_any_image_have_one_size_and_keep_what_is_said_in_place(size):
    rng = np.random.default_rng(3)
    said = rng.random((1, *size)).astype(np.float32)
    lessons = [Lesson(said * 255, np.concatenate([said, 1 - said]))]
    for _ in range(20):
        piece = deeper._piece(lessons, rng)
        assert piece.said.shape == (2, 160, 160)
        np.testing.assert_array_equal(piece.image, piece.said[:1] * 255)

import pytest
import torch

from napari_cas.config import Config
from napari_cas.engine import discriminant
from napari_cas.engine.checks import as_image
from napari_cas.engine.coarse import Coarse, doubted, most_explained
from napari_cas.engine.discriminant import discriminate
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import Trainer
from napari_cas.metrics.regions import adjusted_rand_index
from napari_cas.protocol import Box
from napari_cas.samples import load_sample
from training.scribbles import Scribbles, scribble

FINE, DEEP = 32, 32


def test_noise_is_added_to_the_deepest_features_alone():
    noise = torch.tensor([[2.0, 1.0], [1.0, 4.0]], dtype=torch.float64)
    deepest = torch.tensor([False, True])
    assert doubted(noise, deepest, 0).equal(noise)
    assert doubted(noise, deepest, 5).tolist() == [[2, 1], [1, 4 + 5 * 3]]


def test_labels_that_values_follow_explain_them_best():
    values = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    apart, across, one = (torch.tensor(k).float() for k in ([0, 0, 1, 1], [0, 1, 0, 1], [1] * 4))
    logits = [torch.stack([1 - label, label], dim=1) for label in (one, across, apart, apart)]
    assert most_explained(values, logits) == 2
    assert most_explained(values + 7, logits) == 2  # wherever they are, and the first of equals


def regions_of(*, kinds_in_the_deepest: bool) -> tuple[torch.Tensor, ...]:
    """Return painted and unpainted features: noisy ones, and deep ones that are quiet in strokes.

    Noisy ones tell kinds apart everywhere. Deep ones do as well, or they say mostly where on the
    plane a stroke is.
    """
    rng = torch.Generator().manual_seed(0)
    stroke = torch.arange(2).repeat_interleave(200)
    kind = torch.cat([stroke, torch.randint(2, (2000,), generator=rng)])
    place = torch.randn(2002, DEEP, generator=rng)[[*[2000] * 200, *[2001] * 200, *range(2000)]]
    share = 1.0 if kinds_in_the_deepest else 0.3
    sign = 2.0 * kind[:, None] - 1
    features = torch.cat([sign.expand(-1, FINE), share * sign + (1 - share) * place], dim=1)
    spread = torch.tensor([*[3.0] * FINE, *[0.05] * DEEP])
    features = features + spread * torch.randn(features.shape, generator=rng)
    return features[:400], features[400:], kind[400:]


def right(
    *, kinds_in_the_deepest: bool, believing: bool, planes: tuple[int, int] = (0, 0)
) -> float:
    painted, unpainted, kind = regions_of(kinds_in_the_deepest=kinds_in_the_deepest)
    coarse = None if believing else Coarse(torch.arange(FINE + DEEP) >= FINE, unpainted)
    found = discriminate(
        painted,
        torch.tensor([200, 200]),
        torch.tensor(planes),
        torch.arange(2),
        torch.zeros(0, FINE + DEEP),
        4,
        coarse=coarse,
    )
    label = (unpainted @ found.weight.T + found.bias).argmax(1)
    return float((label == found.channel[kind]).double().mean())


def test_deepest_features_that_tell_places_apart_are_doubted():
    assert right(kinds_in_the_deepest=False, believing=True) < 0.85
    assert right(kinds_in_the_deepest=False, believing=False) > 0.9


def test_deepest_features_that_tell_kinds_apart_are_believed():
    believed = right(kinds_in_the_deepest=True, believing=True)
    assert believed == 1
    assert right(kinds_in_the_deepest=True, believing=False) == believed


def test_other_planes_tell_better_what_to_believe():
    doubting, believing = (
        right(kinds_in_the_deepest=False, believing=way, planes=(0, 1)) for way in (False, True)
    )
    assert doubting == believing


def first_answer(name: str) -> float:
    """Return the agreement of the first answer on a sample, from one scribble of each kind."""
    sample = load_sample(name)
    assert sample.truth is not None
    strokes = scribble(sample.truth, Scribbles(length=0.8), seed=2)
    source = ArraySource(name, as_image(sample.image, name), strokes)
    trainer = Trainer(Config(), source.channels)
    trainer.train([source], steps=1)
    found = trainer.predict(source, (), Box(0, 0, *source.size))
    return adjusted_rand_index(sample.truth, found.labels)


@pytest.mark.parametrize(("name", "gain"), [("cells", 0.08), ("textures", 0.03), ("coffee", 0)])
def test_the_first_answer_is_better_by_it_or_stays(monkeypatch, name, gain):
    found = first_answer(name)
    monkeypatch.setattr(discriminant, "DOUBTS", (0.0,))
    assert found >= first_answer(name) + gain

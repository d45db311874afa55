import numpy as np
import pytest

from napari_cas.engine import anchor, closed_form, composites, discriminant, sampling, trainer
from napari_cas.models import quick
from training import bench_ablation
from training.bench_ablation import VARIANTS, describe, measure
from training.data.labelled import Labelled


@pytest.fixture
def two_stripes(monkeypatch):
    """Stand in for RWTD: one small image of two areas."""
    rng = np.random.default_rng(0)
    truth = np.ones((64, 96), np.uint8)
    truth[:, 48:] = 2
    image = rng.normal(90, 10, (64, 96, 3)) + 60.0 * (truth[..., None] == 2)
    item = Labelled("stripes", image.clip(0, 255).astype(np.uint8), truth)
    monkeypatch.setattr(bench_ablation, "singles", lambda *_: iter([item]))
    monkeypatch.setattr(trainer, "_ENOUGH", 100)  # a round


@pytest.mark.parametrize(
    "variant",
    [
        "as it is",
        "the first answer: closed form and one step",
        "no closed form",
        "looked at from one side",
        "alike regions told apart",
        "twins told apart",
        "never held",
        "no composites",
        "every pixel painted",
        "cross-entropy, true names, varied copies",
        "cross-entropy, true names, composites",
    ],
)
def test_each_variant_learns_two_areas_and_leaves_nothing_behind(two_stripes, variant):
    assert measure("rwtd", variant, 0, 1) > 0.7
    assert closed_form.start_from_discriminant is anchor.start_from_discriminant
    assert closed_form.learn_borders is anchor.learn_borders
    assert closed_form.Anchor is anchor.Anchor
    assert closed_form.make_composites is composites.make_composites
    assert sampling.group_alike.__module__ == "napari_cas.engine.alike"


def test_parts_that_are_left_out_are_named_right():
    for variant in VARIANTS.values():
        for target in variant.replaced:
            module, _, name = target.rpartition(".")
            modules = {m.__name__: m for m in (trainer, closed_form, sampling, discriminant, quick)}
            assert hasattr(modules[module], name)


def test_the_table_has_a_column_for_each_set():
    row = {"variant": "as it is", "wbc": 0.5, "rwtd": 0.25}
    text = describe({"rows": [row], "sets": ["wbc", "rwtd"]})
    assert "| variant | wbc | rwtd |" in text
    assert "| as it is | 0.500 | 0.250 |" in text

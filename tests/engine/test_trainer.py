import math

import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, LossConfig, ModelSpec, PredictConfig
from napari_cas.engine.features import FeatureCache
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import Trainer
from napari_cas.errors import CASError, CheckpointError, ImageError, RegionError
from napari_cas.protocol import Box
from training.bench_robustness import FAULTS
from training.data.mosaics import Mosaics

from .conftest import agreement, strokes, two_areas

IMAGE, TRUTH = two_areas()
ALL = Box(0, 0, *TRUTH.shape)
CACHE = FeatureCache()  # of the one stem and the images named "a" and "b"
WHOLE = Config(
    model=ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=4),
    fit=FitConfig(crop_size=64),
)


class Starved(ArraySource):
    """An image of which only boxes up to a side can be held in memory."""

    def __init__(self, *arguments, side, error=None):
        super().__init__(*arguments)
        self.error = error or torch.OutOfMemoryError("out of memory")
        self.side, self.asked = side, []

    def read(self, plane, box):
        self.asked.append(max(box.shape))
        if max(box.shape) > self.side:
            raise self.error
        return super().read(plane, box)


def source(seed=0, painted=None, name="a"):
    painted = strokes(TRUTH) if painted is None else painted
    return ArraySource(name, np.moveaxis(two_areas(seed=seed)[0], 2, 0), painted)


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.model.learned().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def deaf(trainer):
    """Let the trainer's logits be NaN where the closure's list is not empty; count its calls."""
    ear, broken = trainer.learner.module, []

    def module(inputs):
        logits = ear(inputs)
        return logits * broken.pop() if broken else logits

    trainer.learner.module = module
    return broken


@pytest.fixture
def trainer(config):
    return Trainer(config, 3, CACHE)


def test_it_learns_two_halves_and_says_how(trainer):
    result = trainer.train([source()], steps=30)
    assert [p.step for p in result.losses] == list(range(1, 31))
    assert result.losses[-1].total < 0.01
    assert (result.regions, result.channels_used) == (2, 2)
    assert result.warnings == ()
    assert set(result.seconds) == {"features", "fit"}
    # Also on an image that it has not seen.
    for seed, name in ((0, "a"), (5, "fresh")):
        labels = trainer.predict(source(seed, name=name), (), ALL).labels
        assert agreement(labels, TRUTH) > 0.95


def test_a_round_ends_in_time_but_not_before_a_few_steps(trainer):
    assert len(trainer.train([source()], steps=1000, seconds=0).losses) == 5
    assert trainer.learner.step == 5


def test_the_seed_decides_everything(config):
    results = []
    for seed in (0, 0, 1):
        trainer = Trainer(config.model_copy(update={"seed": seed}), 3, CACHE)
        trainer.train([source()], steps=5)
        results.append(weights_of(trainer))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_digest_is_that_of_the_paint(trainer):
    first = trainer.train([source()], steps=1).digest
    assert trainer.data_digest == first
    assert trainer.train([source()], steps=1).digest == first
    painted = strokes(TRUTH)
    painted[0, 0] = 1
    assert trainer.train([source(painted=painted)], steps=1).digest != first


def test_varied_copies_come_in_after_the_first_step_where_planes_are_painted(trainer, monkeypatch):
    # Composites change the map as well.
    monkeypatch.setattr("napari_cas.engine.closed_form.make_composites", lambda *_, **__: None)
    both = [source(), source(1, name="b")]
    seen = []
    for _ in range(3):
        trainer.train(both, steps=100 if seen else 1)
        seen.append(trainer.model.head.linear_weight.clone())
        held = [key for key in trainer.cache._held if key[0] == "varied"]
        assert len(held) == 2 * (len(seen) - 1)
    # Each is a closed form of its own, and at last everything is told apart nonetheless.
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    trainer.train(both, steps=5)
    assert torch.equal(trainer.model.head.linear_weight, seen[2])
    assert agreement(trainer.predict(source(5, name="c"), (), ALL).labels, TRUTH) > 0.95


def test_kinds_under_two_ids_on_every_plane_are_learnt_as_one_and_told():
    # Textures, each painted twice per image, under ids that are shuffled in every image.
    paint = FAULTS["every kind under two ids"]
    rng = np.random.default_rng(0)
    sources, wanted = [], set()
    for number, item in enumerate(Mosaics(10)):
        named, kinds = paint(item, 3, number)
        ids = np.concatenate([[0], rng.permutation(6) + 1])
        painted = ids[named]
        image = np.moveaxis(np.atleast_3d(item.image), 2, 0)
        sources.append(ArraySource(f"{number}", image, painted))
        wanted |= {
            (f"{number}", tuple(sorted(set(painted[kinds == k].tolist())))) for k in (1, 2, 3)
        }
    trainer = Trainer(Config(), sources[0].channels, FeatureCache())
    result = trainer.train(sources, steps=5)
    found = {(group.image, group.ids) for group in result.alike}
    assert len(found & wanted) > 0.8 * len(wanted)
    assert len(found - wanted) < 0.1 * len(wanted)
    assert result.channels_used == 3
    # The checkpoint does not hold them: they follow from the paint.
    before = trainer.train(sources, steps=1)
    again = Trainer.restore(*trainer.save(), cache=trainer.cache).train(sources, steps=1)
    assert again.alike == before.alike


def test_two_kinds_under_one_id_on_some_planes_are_learnt_as_two_and_told_once():
    # Textures, two of them under one id on every third image; ids are shuffled in every image.
    paint = FAULTS["two kinds under one id, every third image"]
    rng = np.random.default_rng(0)
    sources, wanted = [], []
    for number, item in enumerate(Mosaics(12)):
        ids = np.concatenate([[0], rng.permutation(3) + 1])
        painted = ids[paint(item, 3, number)[0]]
        image = np.moveaxis(np.atleast_3d(item.image), 2, 0)
        sources.append(ArraySource(f"{number}", image, painted))
        if number % 3 == 0:
            wanted.append(f"{ids[1]} of {number}")
    trainer = Trainer(Config(), sources[0].channels, FeatureCache())
    result = trainer.train(sources, steps=5)
    (said,) = result.warnings
    assert said.startswith(f"Regions {'; '.join(wanted[:3])}; … show two kinds")
    assert result.regions == 32
    learnt, all_of_it = trainer._closed.corrected.learnt, Box(0, 0, *sources[0].size)
    assert [len(learnt(source, (), all_of_it)) for source in sources[:4]] == [1, 3, 3, 1]
    known = trainer.train(sources, steps=1)  # varied copies are new
    assert known.channels_used == 3
    assert not known.warnings
    # The checkpoint does not hold them: they follow from the paint.
    again = Trainer.restore(*trainer.save(), cache=trainer.cache)
    assert again.train(sources, steps=1).channels_used == 3


def test_images_without_paint_are_not_touched(trainer):
    bare = Starved("bare", np.moveaxis(IMAGE, 2, 0), side=0)
    assert trainer.train([bare, source(), bare], steps=1).regions == 2
    assert bare.asked == []


def test_what_cannot_teach_is_said(trainer):
    with pytest.raises(RegionError, match="Nothing is painted"):
        trainer.train([source(painted=np.zeros_like(TRUTH))])
    with pytest.raises(RegionError, match="Only one region"):
        trainer.train([source(painted=strokes(TRUTH, (3, 3)))])


def test_paint_where_there_are_no_data_is_named_as_a_reason(trainer):
    image = np.moveaxis(two_areas()[0], 2, 0).astype(np.float32)
    image[:, np.equal(TRUTH, TRUTH[0, 0])] = np.nan
    with pytest.raises(RegionError, match=r"Only one region.*Region \d of a is .*no data"):
        trainer.train([ArraySource("a", image, strokes(TRUTH))])


def test_a_region_that_does_not_count_is_told_once(trainer):
    image = np.moveaxis(two_areas()[0], 2, 0).astype(np.float32)
    painted = strokes(TRUTH)
    painted[0, :10] = 9
    image[:, 0] = np.nan
    gappy = ArraySource("a", image, painted)
    text = "Region 9 of a is painted only where the image has no data: that does not count."
    assert text in trainer.train([gappy], steps=5).warnings
    assert text not in trainer.train([gappy], steps=5).warnings


def test_images_of_other_channels_are_refused(trainer):
    grey = ArraySource("grey", IMAGE[None, ..., 0], strokes(TRUTH))
    with pytest.raises(ImageError, match="'grey'"):
        trainer.train([source(), grey])
    with pytest.raises(ImageError, match="'grey'"):
        trainer.predict(grey, (), ALL)


def test_saved_and_restored_it_says_the_same_and_goes_on_the_same(trainer, config):
    trainer.train([source()], steps=8)
    tensors, record = trainer.save()
    other = Trainer.restore(tensors, record, cache=CACHE)
    assert other.config == config
    assert other.learner.step == 8
    assert other.data_digest == trainer.data_digest
    assert same(weights_of(trainer), weights_of(other))
    assert np.array_equal(
        trainer.predict(source(), (), ALL).probabilities,
        other.predict(source(), (), ALL).probabilities,
    )
    # The same paint and more paint: the optimiser and the closed form go on alike.
    more = [source(), source(1, strokes(TRUTH, (7, 4)), "b")]
    for sources in ([source()], more):
        one, two = trainer.train(sources, steps=4), other.train(sources, steps=4)
        assert one.losses == two.losses
        assert same(weights_of(trainer), weights_of(other))


def test_a_saved_state_does_not_change_with_further_training(trainer):
    trainer.train([source()], steps=2)
    tensors, _ = trainer.save()
    before = {name: value.copy() for name, value in tensors.items()}
    trainer.train([source()], steps=2)
    assert all(np.array_equal(tensors[name], before[name]) for name in before)


def test_restoring_with_other_settings_keeps_the_network(trainer, config):
    trainer.train([source()], steps=1)
    wanted = Config(
        model=ModelSpec(channels=9),
        fit=FitConfig(learning_rate=0.5),
        predict=PredictConfig(tile_size=128),
    )
    other = Trainer.restore(*trainer.save(), wanted, CACHE)
    assert other.config.model == config.model
    assert other.config.predict.tile_size == 128
    assert other.learner.learning_rate == 0.5


def test_a_lowered_learning_rate_is_remembered_until_another_is_asked_for(trainer, config):
    trainer.train([source()], steps=1)
    trainer.learner.learning_rate = 1e-4
    other = Trainer.restore(*trainer.save(), cache=CACHE)
    assert other.learner.learning_rate == 1e-4
    other.reconfigure(config.model_copy(update={"loss": LossConfig(alpha=0.5)}))
    assert other.learner.learning_rate == 1e-4
    other.reconfigure(config.model_copy(update={"fit": FitConfig(learning_rate=0.02)}))
    assert other.learner.learning_rate == 0.02


def test_a_damaged_checkpoint_is_refused(trainer):
    trainer.train([source()], steps=1)
    tensors, record = trainer.save()
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer.restore(tensors, record | {"training": {}})
    del tensors["model.head.linear_bias"]
    with pytest.raises(CheckpointError, match="linear_bias"):
        Trainer.restore(tensors, record)


def test_features_of_another_mixing_are_not_used(config):
    # Of five channels, each time others differ: the mixing into three is fitted to the paint.
    rng = np.random.default_rng(0)
    image = rng.normal(100, 3, (5, *TRUTH.shape))
    image[0, :, 64:] += 50
    image[4, 48:] += 90
    across, along = strokes(TRUTH), np.zeros_like(TRUTH)
    along[60:70, :20], along[80:90, :20] = 1, 2
    cache = FeatureCache()
    first = Trainer(config, 5, cache)
    first.train([ArraySource("a", image, across)], steps=1)
    saved = first.save()
    expected = first.predict(ArraySource("a", image), (), ALL)
    second = Trainer(config, 5, cache)
    second.train([ArraySource("a", image[::-1], along)], steps=1)
    second.predict(ArraySource("a", image), (), ALL)
    assert not torch.equal(first.model.mixing, second.model.mixing)
    again = Trainer.restore(*saved, cache=cache).predict(ArraySource("a", image), (), ALL)
    assert np.array_equal(again.probabilities, expected.probabilities)


def test_a_loss_that_is_not_finite_costs_a_step_and_half_the_rate(trainer):
    rate = trainer.learner.learning_rate
    deaf(trainer).extend([1.0, 1.0, math.nan, 1.0, 1.0])
    result = trainer.train([source()], steps=10)
    assert len(result.losses) == 9
    assert trainer.learner.learning_rate == rate / 2
    assert any("not finite" in sentence for sentence in result.warnings)
    assert all(value.isfinite().all() for value in weights_of(trainer).values())
    assert agreement(trainer.predict(source(), (), ALL).labels, TRUTH) > 0.95
    # It is said once.
    assert trainer.train([source()], steps=1).warnings == ()


def test_a_loss_that_is_never_finite_ends_with_a_sentence(trainer):
    deaf(trainer).extend([math.nan] * 5 + [1.0])  # the first is only looked at
    with pytest.raises(CASError, match=r"not finite.*Lower the learning rate"):
        trainer.train([source()], steps=10)


def test_it_does_not_end_before_so_many_steps_on_the_same_paint(trainer, monkeypatch):
    monkeypatch.setattr("napari_cas.engine.trainer._ENOUGH", 60)
    monkeypatch.setattr("napari_cas.engine.trainer.is_flat", lambda _: True)
    monkeypatch.setattr("napari_cas.engine.trainer._STILL", 1.1)
    found = [trainer.train([source()], steps=n).converged for n in (1, 29, 29, 1)]
    assert found == [False, False, False, True]
    # What is painted anew gets as many, also after a restart.
    more = [source(painted=strokes(TRUTH, (4, 3)))]
    assert not trainer.train(more, steps=45).converged
    trainer = Trainer.restore(*trainer.save(), cache=CACHE)
    assert [trainer.train(more, steps=8).converged for _ in range(2)] == [False, True]


def test_the_perceptron_begins_again_where_the_paint_changed(trainer):
    # What it learnt is beside another linear map, and with the new one might say anything.
    trainer.train([source()], steps=8)
    out = trainer.model.head.out.weight
    torch.nn.init.constant_(out, 7.0)
    trainer.train([source()], steps=1)
    assert out.min() > 6
    trainer.train([source(painted=strokes(TRUTH, (4, 3)))], steps=1)
    assert out.abs().max() < 0.1


def test_it_ends_when_nothing_moves_any_more(config):
    both = [source(), source(1, name="b")]
    trainer = Trainer(config, 3, CACHE)
    found = [trainer.train(both, steps=n).converged for n in (1, 199, 160, 40)]
    assert found == [False, False, False, True]
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(trainer.model.head.out.weight, std=10.0, generator=generator)
    assert not trainer.train(both, steps=40).converged


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no"), MemoryError(), RuntimeError("CUDA out of memory")]
)
def test_where_memory_runs_out_training_goes_on_with_smaller_tiles(error):
    config = Config(
        model=ModelSpec(channels=4, weights="none"), predict=PredictConfig(tile_size=256)
    )
    trainer = Trainer(config, 3)
    image, truth = two_areas(40, 400)
    hungry = Starved("a", np.moveaxis(image, 2, 0), strokes(truth), side=300, error=error)
    result = trainer.train([hungry], steps=1)
    assert hungry.asked[0] > 300
    assert hungry.asked[-1] <= 300
    assert any("tiles of 128" in sentence for sentence in result.warnings)


def test_where_memory_runs_out_crops_are_halved():
    config = WHOLE.model_copy(update={"fit": FitConfig(crop_size=256)})
    trainer = Trainer(config, 3)
    image, truth = two_areas(64, 300)
    hungry = Starved("a", np.moveaxis(image, 2, 0), strokes(truth), side=130)
    result = trainer.train([hungry], steps=1)
    assert set(hungry.asked) == {256, 128}
    assert any("crops of 128" in sentence for sentence in result.warnings)
    # What was found out stays: the next round neither runs out of memory nor says so again.
    hungry.asked.clear()
    trainer.cache.clear()
    trainer.reconfigure(config.model_copy(update={"seed": 0}))
    assert trainer.train([hungry], steps=1).warnings == ()
    assert max(hungry.asked) == 128


@pytest.mark.parametrize("which", [2, 3])
def test_memory_that_runs_out_while_the_optimiser_makes_its_state(which, monkeypatch):
    """Of the first parameter's two means only one is there, or of the second's none."""
    trainer, made, real = Trainer(WHOLE, 3), [], torch.zeros_like
    step = trainer.learner.optimiser.step

    def starved(*args, **options):
        made.append(args)
        if len(made) == which:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 MiB")
        return real(*args, **options)

    def hungry_step():
        with monkeypatch.context() as patch:
            patch.setattr(torch, "zeros_like", starved)
            step()

    monkeypatch.setattr(trainer.learner.optimiser, "step", hungry_step)
    result = trainer.train([source()], steps=2)
    assert len(result.losses) == 2
    assert len(made) > which
    assert any("Memory ran out" in sentence for sentence in result.warnings)


def test_where_small_crops_are_too_much_batches_are_halved(monkeypatch):
    config = WHOLE.model_copy(
        update={
            "fit": FitConfig(crop_size=64, batch_size=4),
            "predict": PredictConfig(tile_size=128),
        }
    )
    trainer, batches = Trainer(config, 3), []
    forward = trainer.model.forward

    def starved(image):
        batches.append(len(image))
        if len(image) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(image)

    monkeypatch.setattr(trainer.model, "forward", starved)
    result = trainer.train([source()], steps=2)
    assert len(result.losses) == 2
    assert list(dict.fromkeys(batches)) == [4, 2, 1]
    (warning,) = result.warnings  # of several tries, the last one counts
    assert "1 crops of 64 pixels" in warning


def test_memory_that_suffices_for_nothing_is_said_instead_of_trying_for_ever(trainer):
    hungry = Starved("hungry", np.moveaxis(IMAGE, 2, 0), strokes(TRUTH), side=0)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train([hungry])
    with pytest.raises(torch.OutOfMemoryError):
        trainer.predict(hungry, (), ALL)
    assert 2 <= len(hungry.asked) < 12


def test_errors_that_are_not_about_memory_are_not_tried_again(trainer):
    broken = Starved("broken", np.moveaxis(IMAGE, 2, 0), strokes(TRUTH), side=0)
    broken.error = RuntimeError("the disk is gone")
    with pytest.raises(RuntimeError, match="the disk is gone"):
        trainer.train([broken])
    assert len(broken.asked) == 1


def test_a_whole_network_runs_a_round_and_is_restored():
    trainer = Trainer(WHOLE, 3)
    before = weights_of(trainer)
    result = trainer.train([source()], steps=3)
    assert len(result.losses) == 3
    assert result.regions == 2
    assert not result.converged
    assert not same(before, weights_of(trainer))
    assert not trainer.model.training
    other = Trainer.restore(*trainer.save())
    assert same(weights_of(trainer), weights_of(other))
    found = [t.predict(source(), (), ALL).probabilities for t in (trainer, other)]
    assert np.array_equal(*found)
    assert trainer.train([source()], steps=2).losses == other.train([source()], steps=2).losses


@pytest.mark.parametrize(("name", "tile"), [("quick", 256), ("lraspp_mobilenet_v3_large", 512)])
def test_tiles_are_smaller_only_for_the_network_that_sees_them_larger(name, tile):
    trainer = Trainer(Config(model=ModelSpec(name=name, weights="none", enlarge=4)), 3)
    assert trainer._tile == tile


def test_which_way_stripes_run_stays_what_parts_the_regions_of_a_single_plane(config):
    # Composites from other sides would show either kind in either direction.
    y, x = np.mgrid[: TRUTH.shape[0], : TRUTH.shape[1]]
    noise = np.random.default_rng(0).normal(0, 8, TRUTH.shape)
    stripes = 110 + 40 * np.sin(0.6 * (x + np.where(TRUTH == 2, y, -y))) + noise
    painted = ArraySource("stripes", stripes[None].astype(np.float32), strokes(TRUTH))
    trainer = Trainer(config, 1)
    for steps in (1, 60, 60):
        trainer.train([painted], steps=steps)
    assert agreement(trainer.predict(painted, (), ALL).labels, TRUTH) > 0.9

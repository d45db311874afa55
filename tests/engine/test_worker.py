import shutil

import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec, PredictConfig
from napari_cas.engine import worker
from napari_cas.engine.trainer import Trainer
from napari_cas.errors import CASError, CheckpointError, RegionError, WorkerError
from napari_cas.protocol import Box, RoundRequest, Tile, TilesRequest
from napari_cas.store import Project

from .conftest import agreement, strokes, two_areas

IMAGE, TRUTH = two_areas()
ALL = Box(0, 0, *TRUTH.shape)
VIEW = Tile("a", (), ALL)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Shorten all rounds but the first: what is asked here does not depend on their length."""
    monkeypatch.setattr(worker, "STEPS_PER_ROUND", 6)


@pytest.fixture
def ask(project, config):
    """Return a function that runs a round on the project."""

    def run(checkpoint=None, view=VIEW, **options):
        options = {"config": config} | options
        return worker.run_round(
            RoundRequest(str(project.path), view=view, checkpoint=checkpoint, **options)
        )

    return run


def prediction(project, name="a"):
    """Return what is on disk, as another process sees it."""
    with Project.open(project.path, mode="r") as seen:
        return np.asarray(seen.image(name).prediction[:])


def weights(project, name):
    return project.load_model(name)[0]


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def test_a_round_reports_what_it_did(project, ask):
    report = ask()
    assert report.steps == len(report.losses) == 1
    assert report.losses[0].step == 1
    assert (report.regions, report.channels_used, report.kinds) == (2, 2, (1, 2))
    assert report.changed == (VIEW,)
    assert not report.converged
    assert report.device in ("cpu", "cuda", "mps")
    assert report.warnings == ()
    phases = {"features", "fit", "predict", "write"}
    assert set(report.seconds) == phases | {"total"}
    assert sum(report.seconds[p] for p in phases) <= report.seconds["total"]


def test_prediction_and_checkpoint_are_on_disk_when_it_returns(project, ask):
    report = ask()
    assert agreement(prediction(project), TRUTH) > 0.9
    assert not prediction(project, "b").any()
    assert project.models == (report.checkpoint,)
    record = project.load_model(report.checkpoint)[1]
    assert record["training"]["step"] == 1
    assert record["training"]["regions"] == 2
    with Project.open(project.path, mode="r") as seen:
        assert seen.image("a").predicted_with(report.checkpoint) == {((), ALL)}


def test_the_first_round_takes_one_step_and_the_next_ones_go_on(project, ask):
    first = ask()
    second = ask(first.checkpoint, round=1)
    assert (first.steps, second.steps) == (1, 7)
    assert [p.step for p in second.losses] == [2, 3, 4, 5, 6, 7]
    assert second.checkpoint != first.checkpoint
    assert project.models == (first.checkpoint, second.checkpoint)
    assert not same(weights(project, first.checkpoint), weights(project, second.checkpoint))


def test_the_first_round_of_a_whole_network_is_a_full_one(ask):
    config = Config(
        model=ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=4),
        fit=FitConfig(crop_size=64, round_seconds=600),
    )
    report = ask(config=config)
    assert report.steps == 6
    assert report.changed == (VIEW,)


def test_losses_are_thinned_and_the_last_one_stays(ask, monkeypatch):
    monkeypatch.setattr(worker, "_POINTS", 3)
    report = ask(ask().checkpoint)
    assert [p.step for p in report.losses] == [3, 5, 7]


def test_a_warm_worker_and_a_fresh_one_do_the_same(project, ask, cold):
    start = ask().checkpoint
    found = {}
    for state in ("warm", "cold"):
        if state == "cold":
            cold()
        report = ask(start, round=1)
        found[state] = prediction(project), weights(project, report.checkpoint), report
        ask(start, train=False)  # so that both start where the first round ended
    warm, fresh = found["warm"], found["cold"]
    assert np.array_equal(warm[0], fresh[0])
    assert same(warm[1], fresh[1])
    assert warm[2].losses == fresh[2].losses
    assert warm[2].checkpoint == fresh[2].checkpoint


def test_what_is_warm_is_used(ask, monkeypatch):
    start = ask().checkpoint

    def never(*_, **__):
        raise AssertionError("restored from disk")

    monkeypatch.setattr(Trainer, "restore", never)
    later = ask(start).checkpoint
    with pytest.raises(AssertionError, match="restored from disk"):
        ask(start)  # what is warm has gone on to `later`
    assert later != start


def test_what_is_painted_between_two_rounds_counts(project, ask):
    start = ask()
    project.image("a").regions[80:96, 60:70] = 3
    project.image("b").regions[:] = strokes(TRUTH, (5, 4))
    project.flush()
    assert (start.regions, ask(start.checkpoint).regions) == (2, 5)


def test_a_view_is_predicted_without_training(project, ask, cold):
    start = ask(view=None)
    assert start.changed == ()
    assert not prediction(project).any()
    for _ in range(2):
        report = ask(start.checkpoint, Tile("b", (), Box(0, 0, 96, 64)), train=False)
        assert report.checkpoint == start.checkpoint
        assert (report.steps, report.losses) == (1, ())
        assert project.models == (start.checkpoint,)
        assert prediction(project, "b")[:, :64].all()
        assert not prediction(project, "b")[:, 64:].any()
        cold()


def test_where_the_network_hesitates_is_noted(project, ask):
    ask()
    with Project.open(project.path, mode="r") as seen:
        places = seen.image("a").predicted.doubts()
        regions = np.asarray(seen.image("a").regions[...])
    assert 0 < len(places) <= 4
    for plane, (value, y, x) in places:
        assert plane == ()
        assert 0 <= value <= 1
        assert not regions[y - 16 : y + 16, x - 16 : x + 16].any()


def test_a_view_that_looks_past_the_image_is_cut(project, ask):
    ask(view=Tile("a", (), Box(-50, 100, 50, 900)))
    found = prediction(project)
    assert found[:50, 100:].all()
    assert np.count_nonzero(found) == 50 * 28


def test_probabilities_are_written_where_asked(project, ask):
    start = ask().checkpoint
    with Project.open(project.path, mode="r") as seen:
        assert seen.image("a").probabilities is None
    ask(start, train=False, probabilities=True)
    with Project.open(project.path, mode="r") as seen:
        found = np.asarray(seen.image("a").probabilities[:])
    assert found.shape == (2, *TRUTH.shape)  # of four channels, those that anything is in
    assert np.allclose(found.astype(float).sum(0), 1, atol=5e-3)
    assert (found.argmax(0) + 1 == prediction(project)).mean() > 0.99


def test_tiles_are_predicted_one_by_one(project, ask, config, cold):
    start = ask(view=None).checkpoint
    tiles = (Tile("b", (), Box(0, 0, 96, 64)), Tile("b", (), Box(0, 64, 96, 128)), VIEW)
    found = []
    for _ in range(2):  # warm, then from disk
        request = TilesRequest(str(project.path), config, start, tiles)
        report = worker.run_tiles(request)
        assert report.done == tiles
        assert set(report.seconds) == {"predict", "write"}
        found.append((prediction(project), prediction(project, "b")))
        cold()
    for one, other in zip(*found, strict=True):
        assert one.all()
        assert agreement(one, TRUTH) > 0.9
        assert np.array_equal(one, other)
    with Project.open(project.path, mode="r") as seen:
        assert seen.image("b").predicted_with(start) == {t[1:] for t in tiles[:2]}


def test_empty_tiles_are_noted_and_lose_what_an_older_model_said(project, ask, config):
    checkpoint = ask().checkpoint
    tiles = (Tile("b", (), ALL), Tile("a", (), ALL))
    request = TilesRequest(str(project.path), config, checkpoint, tiles)
    assert worker.run_tiles(request).empty == ()
    assert prediction(project, "b").all()
    config = config.model_copy(update={"predict": PredictConfig(skip_below=100)})
    report = worker.run_tiles(TilesRequest(str(project.path), config, checkpoint, tiles[:1]))
    assert report.empty == report.done == tiles[:1]
    assert not prediction(project, "b").any()
    made = config.predict.note
    assert project.image("b").predicted_with(checkpoint, settings=made) == {((), ALL)}
    assert project.image("b").predicted_with(checkpoint) == set()


def test_tiles_push_nothing_out_that_rounds_use(project, ask, config, monkeypatch):
    start = ask().checkpoint
    cache = worker._warm.cache
    used = set(cache._held)
    monkeypatch.setattr(cache, "limit", cache.size)
    worker.run_tiles(TilesRequest(str(project.path), config, start, (Tile("b", (), ALL),)))
    assert prediction(project, "b").all()
    assert used
    assert used <= set(cache._held)


def test_other_settings_take_effect_on_what_is_warm(project, ask, config, cold):
    start = ask().checkpoint
    smooth = prediction(project)
    sharp = config.model_copy(update={"predict": PredictConfig(follow_edges=False)})
    ask(start, train=False, config=sharp)
    warm = prediction(project)
    assert not np.array_equal(warm, smooth)
    cold()
    ask(start, train=False, config=sharp)
    assert np.array_equal(prediction(project), warm)


def damage_weights(folder):
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-40] ^= 255
    (folder / "weights.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage_weights, id="a flipped byte"),
        pytest.param(lambda f: (f / "weights.safetensors").unlink(), id="no weights"),
        pytest.param(lambda f: (f / "model.json").write_text("{"), id="half a record"),
        pytest.param(shutil.rmtree, id="nothing left"),
    ],
)
def test_a_damaged_checkpoint_is_said_and_the_worker_lives_on(project, ask, cold, config, damage):
    start = ask().checkpoint
    damage(project.path / "models" / start)
    cold()
    with pytest.raises(CheckpointError):
        ask(start)
    with pytest.raises(CheckpointError):
        worker.run_tiles(TilesRequest(str(project.path), config, start, (VIEW,)))
    assert ask().steps == 1


def test_predicting_needs_a_model(ask):
    with pytest.raises(CheckpointError, match="no model to predict with"):
        ask(train=False)
    with pytest.raises(CheckpointError):
        ask("never-made")


def test_without_paint_nothing_is_taught_or_written(project, ask):
    project.image("a").regions[:] = 0
    project.flush()
    with pytest.raises(RegionError, match="Nothing is painted"):
        ask()
    assert project.models == ()
    assert not prediction(project).any()


def test_only_the_last_automatic_checkpoints_are_kept(project, ask):
    project.save_model("mine", {"x": np.zeros(1)}, {})
    names = [None]
    for _ in range(5):
        names.append(ask(names[-1], view=None).checkpoint)
    assert project.models == ("mine", *names[-3:])


def test_memory_that_runs_out_is_a_sentence_and_nothing_stays(ask, monkeypatch):
    start = ask().checkpoint

    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", full)
        with pytest.raises(WorkerError, match=r"Memory ran out.*80 GiB.*smaller tiles"):
            ask(start)
    assert worker._warm.trainer is None
    assert worker._warm.cache.size == 0
    assert ask(start).steps == 7


def test_a_trainer_that_failed_half_way_is_not_used_again(ask, monkeypatch):
    start = ask().checkpoint
    expected = ask(start).losses
    ask(start, train=False)
    train = Trainer.train

    def breaks(self, *arguments):
        train(self, *arguments)
        raise CASError("Something is wrong")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", breaks)
        with pytest.raises(CASError, match="Something is wrong"):
            ask(start)
    assert ask(start).losses == expected


def test_another_image_in_the_place_of_an_old_one_is_looked_at_anew(tmp_path, config, cold):
    path, found = tmp_path / "p.zarr", []

    def run(image):
        shutil.rmtree(path, ignore_errors=True)
        with Project.create(path) as project:
            project.add_image("a", image, "yxc")
            project.image("a").regions[:] = strokes(TRUTH)
            project.flush()
        worker.run_round(RoundRequest(str(path), config, VIEW))
        with Project.open(path, mode="r") as project:
            found.append(np.asarray(project.image("a").prediction[:]))

    run(IMAGE)
    run(np.roll(IMAGE, 10, axis=1))
    cold()
    run(np.roll(IMAGE, 10, axis=1))
    cold()
    assert not np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[2])


def test_warming_up_says_who_will_work(config):
    info = worker.warm_up(config)
    assert info.device in info.devices
    assert "cpu" in info.devices
    assert info.torch == torch.__version__


def test_memory_that_runs_out_while_predicting_is_said_with_the_tiles(project, ask, monkeypatch):
    start = ask(view=None)
    from napari_cas.engine import trainer

    real = trainer.predict_box

    def starved(model, source, plane, box, tile, *arguments, **options):
        if tile > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, source, plane, box, tile, *arguments, **options)

    monkeypatch.setattr(trainer, "predict_box", starved)
    report = ask(start.checkpoint, train=False)
    assert sum("tiles of 128 pixels" in sentence for sentence in report.warnings) == 1
    assert ask(start.checkpoint, train=False).warnings == ()

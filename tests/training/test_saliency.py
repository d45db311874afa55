"""The pipeline of the paper at a tiny size: labels, feed, loop, read-out."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cas.errors import CheckpointError, ConfigError
from training.data.saliency import open_set
from training.saliency.feed import Examples, Feed, feature_examples, image_examples
from training.saliency.labels import exchanged, region_ids, split
from training.saliency.loop import CHECKPOINT, step_loss, train
from training.saliency.network import PaperNetwork, SmallNetwork, create_network, standardise
from training.saliency.objectives import create_objective
from training.saliency.readout import chance, fit_reader, saliency_maps, score
from training.saliency.recipe import Recipe, paper_recipe, small_recipe


@pytest.fixture
def pictures(tiny_set, tmp_path):
    data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=12)
    return open_set("ECSSD", data=data, size=64, cache=tmp_path / "cache", check_count=False)


@pytest.fixture
def colours(pictures) -> Examples:
    """Examples that a pointwise look at colours can solve: three maps of the size of the output."""
    small = np.asarray(pictures.images)[:, 4::8, 4::8].transpose(0, 3, 1, 2).astype(np.float16)
    levels = (small / 64, small[:, :, ::2, ::2] / 64, small[:, :, ::4, ::4] / 64)
    return Examples(levels, pictures, np.arange(len(pictures)), -1)


class Colour(SmallNetwork):
    def __init__(self, channels: int = 2) -> None:
        super().__init__(channels, (3, 3, 3), 8)


@pytest.fixture
def small(monkeypatch) -> None:
    """Give the loop a network of the test's feature widths."""

    def network(recipe: Recipe) -> torch.nn.Module:
        torch.manual_seed(recipe.seed)
        return Colour(recipe.channels)

    monkeypatch.setattr("training.saliency.loop.create_network", network)


def tiny(**changes) -> Recipe:
    changes = {"epochs": 20, "batch_size": 4, "learning_rate": 1e-2, **changes}
    return small_recipe(train_images=12, **changes)


class TestLabels:
    def test_exactly_the_share_is_exchanged_and_the_seed_decides_whose(self):
        for share in (0, 0.02, 0.3, 0.5, 1):
            assert exchanged(100, share, 3).sum() == round(share * 100)
        assert np.array_equal(exchanged(100, 0.3, 3), exchanged(100, 0.3, 3))
        assert not np.array_equal(exchanged(100, 0.3, 3), exchanged(100, 0.3, 4))

    def test_ids_are_exchanged_whole_images_at_a_time(self):
        salient = torch.tensor([[[True, False]], [[True, False]]])
        ids = region_ids(salient, torch.tensor([False, True]))
        assert ids.tolist() == [[[2, 1]], [[1, 2]]]

    def test_split_is_disjoint_and_validation_does_not_depend_on_the_training_size(self):
        one, other = split(100, 30, 20), split(100, None, 20)
        assert not set(one.train) & set(one.validation)
        assert np.array_equal(one.validation, other.validation)
        assert len(other.train) == 80
        with pytest.raises(ValueError, match="cannot give"):
            split(100, 90, 20)


class TestFeed:
    def test_an_epoch_shows_every_example_once_with_its_own_mask_and_flag(self, colours):
        flags = exchanged(len(colours), 0.5, 0)
        feed = Feed(colours, flags, 4, mirror=True)
        inputs, masks = colours.take(np.arange(12))
        seen, mirrored = [], 0
        for batch in feed.epoch((0, 0)):
            for i in range(4):
                same = [torch.equal(batch.inputs[0][i], image) for image in inputs[0]]
                turned = [torch.equal(batch.inputs[0][i], image.flip(-1)) for image in inputs[0]]
                own = (same if any(same) else turned).index(True)
                mask = masks[own] if any(same) else masks[own].flip(-1)
                assert torch.equal(batch.salient[i], mask)
                assert batch.flipped[i] == flags[own]
                seen.append(own)
                mirrored += any(turned)
        assert 1 <= mirrored <= 11
        assert sorted(seen) == list(range(12))
        assert feed.waits.batches == 3

    def test_order_depends_on_the_seed_only(self, colours):
        feed = Feed(colours, exchanged(12, 0, 0), 4)
        first = [b.salient for b in feed.epoch((1, 0))]
        assert all(
            torch.equal(a, b.salient) for a, b in zip(first, feed.epoch((1, 0)), strict=True)
        )
        assert not all(
            torch.equal(a, b.salient) for a, b in zip(first, feed.epoch((1, 1)), strict=True)
        )

    def test_leaving_an_epoch_early_leaves_no_thread(self, colours):
        import threading

        before = threading.active_count()
        for _ in Feed(colours, exchanged(12, 0, 0), 1, ahead=1).epoch((0,)):
            break
        assert threading.active_count() == before

    def test_a_fault_while_reading_reaches_the_loop(self, pictures):
        broken = Examples((np.zeros((3, 1)),), pictures, np.arange(12), -1)
        with pytest.raises(IndexError):
            list(Feed(broken, exchanged(12, 0, 0), 4).epoch((0,)))

    def test_features_are_computed_once(self, pictures, tmp_path):
        rows = np.array([3, 1])
        first = feature_examples(pictures, rows, cache=tmp_path / "features")
        assert [part.shape for part in first.inputs] == [
            (2, 40, 8, 8), (2, 112, 4, 4), (2, 320, 2, 2),
        ]  # fmt: skip
        (made,) = (tmp_path / "features").iterdir()
        before = (made / "level0.npy").stat().st_mtime_ns
        feature_examples(pictures, rows, cache=tmp_path / "features")
        assert (made / "level0.npy").stat().st_mtime_ns == before
        assert torch.equal(first.take(np.array([1]))[1][0], torch.from_numpy(pictures.salient()[1]))


class TestLoop:
    def test_cas_does_not_care_whose_ids_are_exchanged_and_cross_entropy_does(
        self, colours, small, tmp_path
    ):
        scores = {}
        for loss in ("cas", "cross_entropy", "cace"):
            for flip in (0.0, 0.5):
                made = train(tiny(loss=loss, flip=flip), colours, tmp_path / f"{loss}{flip}")
                reader = fit_reader(made, colours)
                scores[loss, flip] = score(made, reader, colours)["f"]
        assert scores["cas", 0.0] > 0.8
        assert scores["cas", 0.5] > 0.8
        assert scores["cace", 0.5] > 0.8
        assert scores["cross_entropy", 0.0] > 0.8
        assert scores["cross_entropy", 0.5] < 0.6

    def test_the_loss_of_a_step_is_the_same_for_exchanged_ids(self, colours, small):
        torch.manual_seed(0)
        network = Colour().eval()
        batches = [
            next(iter(Feed(colours, np.full(12, flag), 4).epoch((0,)))) for flag in (False, True)
        ]
        for loss in ("cas", "cace", "discriminative", "magnet"):
            objective = create_objective(tiny(loss=loss))
            one, other = (step_loss(network, objective, batch) for batch in batches)
            assert torch.allclose(one, other, atol=1e-6)

    def test_an_interrupted_run_ends_as_if_it_had_not_been(self, colours, small, tmp_path):
        recipe = tiny(epochs=4, schedule="cosine", flip=0.5)
        whole = train(recipe, colours, tmp_path / "whole")

        class StopError(Exception):
            pass

        def stop(line: str) -> None:
            if line.startswith("epoch 2"):
                raise StopError

        with pytest.raises(StopError):
            train(recipe, colours, tmp_path / "parts", progress=stop)
        parts = train(recipe, colours, tmp_path / "parts")
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, parts.model.state_dict()[name]), name
        assert parts.record["epochs_done"] == 4
        with (tmp_path / "parts/log.csv").open() as opened:
            assert [row["epoch"] for row in csv.DictReader(opened)] == ["1", "2", "3", "4"]

    def test_what_is_drawn_at_random_is_the_same_in_a_run_that_was_interrupted(
        self, colours, small, tmp_path
    ):
        whole = train(tiny(epochs=2, loss="triplet"), colours, tmp_path / "whole")
        first = tiny(epochs=2, loss="triplet")

        def stop(line: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(first, colours, tmp_path / "parts", progress=stop)
        torch.rand(7)  # another process has another state
        parts = train(first, colours, tmp_path / "parts")
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, parts.model.state_dict()[name]), name

    def test_a_run_does_not_go_on_with_other_images(self, colours, small, tmp_path):
        train(tiny(epochs=1), colours, tmp_path)
        fewer = Examples(colours.inputs, colours.pictures, colours.rows[:8], colours.row_axis)
        with pytest.raises(CheckpointError, match=r"other images.*8 images.*got 12 images.*Delete"):
            train(tiny(epochs=1), fewer, tmp_path)

    def test_a_run_does_not_go_on_with_other_annotations_but_earlier_runs_do_not_say(
        self, colours, small, tmp_path
    ):
        train(tiny(epochs=1), colours, tmp_path)

        def annotated(content):
            pictures = replace(colours.pictures, content=content)
            return replace(colours, pictures=pictures)

        assert train(tiny(epochs=1), annotated("one"), tmp_path).record["epochs_done"] == 1
        train(tiny(epochs=1), annotated("one"), tmp_path / "new")
        with pytest.raises(CheckpointError, match=r"digest two.*got .*digest one"):
            train(tiny(epochs=1), annotated("two"), tmp_path / "new")

    @pytest.mark.parametrize("loss", ["discriminative", "triplet", "magnet"])
    def test_embeddings_are_read_by_clustering(self, loss, colours, small, tmp_path):
        made = train(tiny(loss=loss, flip=0.5, channels=4), colours, tmp_path)
        reader = fit_reader(made, colours)
        assert reader.centres.shape == (2, 4)
        assert score(made, reader, colours)["max_f"] > 0.7

    def test_a_run_keeps_what_made_it(self, colours, small, tmp_path):
        recipe = tiny(epochs=1, flip=0.5)
        record = train(recipe, colours, tmp_path).record
        assert Recipe.model_validate_json((tmp_path / "recipe.json").read_text()) == recipe
        assert len((tmp_path / "exchanged.txt").read_text().split()) == 6
        assert record["train_digest"] == colours.pictures.digest
        assert {"torch", "device", "wait_seconds", "images_per_second"} <= record.keys()
        json.dumps(record)

    def test_pre_epochs_are_cross_entropy(self, colours, small, tmp_path):
        recipe = tiny(epochs=1, pre_epochs=2)
        train(recipe, colours, tmp_path)
        with (tmp_path / "log.csv").open() as opened:
            phases = [row["phase"] for row in csv.DictReader(opened)]
        assert phases == ["cross_entropy", "cross_entropy", "cas"]
        assert recipe.title == "pre-CAS"

    def test_a_loss_that_is_not_finite_ends_in_words(self, colours, small, tmp_path, monkeypatch):
        """Where nobody looks at the values on the way, as on a GPU."""

        def lost(model, objective, batch):
            return model(*batch.inputs).sum() * torch.nan

        monkeypatch.setattr("training.saliency.loop.step_loss", lost)
        with pytest.raises(ConfigError, match=r"epoch 1 is not finite: got nan\. Lower the"):
            train(tiny(epochs=2), colours, tmp_path)

    def test_bfloat16(self, colours, small, tmp_path):
        made = train(tiny(epochs=10, precision="bf16"), colours, tmp_path)
        assert score(made, fit_reader(made, colours), colours)["f"] > 0.6

    @pytest.mark.slow
    @pytest.mark.timeout(900)  # the compiler's, on a busy machine
    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
    def test_compiled_it_learns_the_same(self, colours, small, tmp_path):
        plain = train(tiny(epochs=2), colours, tmp_path / "plain")
        compiled = train(tiny(epochs=2, compile=True), colours, tmp_path / "compiled")
        for name, value in plain.model.state_dict().items():
            assert torch.allclose(value, compiled.model.state_dict()[name], atol=1e-4), name
        assert compiled.record["final_loss"] == pytest.approx(plain.record["final_loss"], abs=1e-4)
        assert score(compiled, fit_reader(compiled, colours), colours)["f"] > 0.2

    def test_a_damaged_checkpoint_is_named(self, colours, small, tmp_path):
        (tmp_path / CHECKPOINT).write_bytes(b"\x08" + bytes(30))
        with pytest.raises(CheckpointError, match=CHECKPOINT):
            train(tiny(epochs=1), colours, tmp_path)

    def test_settings_that_do_not_change_are_no_part_of_the_key(self):
        assert tiny().key == tiny(alpha=0.1).key
        assert len({tiny(flip=p, seed=s).key for p in (0, 0.5) for s in (0, 1)}) == 4


class TestReadOut:
    def test_the_channel_that_correlates_is_chosen(self, colours, small, tmp_path):
        made = train(tiny(loss="cross_entropy"), colours, tmp_path)
        assert fit_reader(made, colours).channel == 1
        with torch.no_grad():  # swap the two channels
            made.model.head.weight.copy_(made.model.head.weight.flip(0))
            made.model.head.bias.copy_(made.model.head.bias.flip(0))
        reader = fit_reader(made, colours)
        assert reader.channel == 0
        maps = saliency_maps(made, reader, colours)
        truth = colours.pictures.salient()
        expected = np.corrcoef(maps.ravel(), truth.ravel())[0, 1]
        assert reader.correlations[0] == pytest.approx(expected, abs=1e-4)

    def test_chance(self, colours):
        share = colours.pictures.salient().mean(axis=(1, 2))
        found = chance(colours)
        assert found["f"] == pytest.approx((1.3 * share / (1 + 0.3 * share)).mean())
        assert found["mae_binary"] == pytest.approx(1 - share.mean())


class TestPaperNetwork:
    def test_standardised_one_by_one(self):
        images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
        images[1] = 7
        found = standardise(images)
        assert found[0].mean().abs() < 1e-5
        assert found[0].std(correction=0) == pytest.approx(1, abs=1e-4)
        assert not found[1].any()

    def test_trains_whole_with_its_batch_normalisation(self, pictures, tmp_path):
        recipe = paper_recipe(
            network="lraspp_mobilenet_v3_large", epochs=1, batch_size=6, size=64,
            channels_last=True, deterministic=True, flip=0.5,
        )  # fmt: skip
        seen = []
        made = train(
            recipe, image_examples(pictures, np.arange(12)), tmp_path,
            progress=lambda _: seen.append(torch.are_deterministic_algorithms_enabled()),
        )  # fmt: skip
        assert seen == [True]
        assert not torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        before = create_network(recipe).state_dict()
        after = made.model.state_dict()
        for name in ("net.backbone.0.0.weight", "net.backbone.0.1.running_mean"):
            assert not torch.equal(before[name], after[name]), name
        reader = fit_reader(made, image_examples(pictures, np.arange(2)))
        assert len(reader.correlations) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["fcn_resnet101", "deeplabv3_resnet101", "deeplabv3_resnet50"])
    def test_the_paper_s_networks(self, name):
        network = PaperNetwork(name, 2, "none", 0).eval()
        images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        with torch.inference_mode():
            assert network(images).shape == (1, 2, 64, 64)

"""Neighbouring planes as context (2.5-D): what cannot be told apart on one plane is, with them."""

import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import worker
from napari_cas.engine.features import FeatureCache, tile_features
from napari_cas.engine.predict import predict_box
from napari_cas.engine.sources import EntrySource, neighbours, read_stacked
from napari_cas.engine.trainer import Trainer
from napari_cas.models import create_model
from napari_cas.protocol import Box, RoundRequest, Tile, TilesRequest
from napari_cas.store import Project

from .conftest import agreement

SIZE, DEPTH, MIDDLE = (96, 384), 7, 3
ALL = Box(0, 0, *SIZE)
# Stripes: the network knows how far the border is, which must not tell them apart.
TRUTH = np.broadcast_to(1 + np.arange(SIZE[1]) // 48 % 2, SIZE)


def stack(seed=0):
    """Return (Z, Y, X): where the truth is 2, every second plane is brighter.

    Even planes show no border at all.
    """
    image = np.random.default_rng(seed).normal(80, 6, (DEPTH, *SIZE))
    image[1::2, TRUTH == 2] += 90
    return image.clip(0, 255).astype(np.uint8)


def strokes():
    """Return a stroke in each stripe."""
    painted = np.zeros(SIZE, np.int32)
    for x in range(24, SIZE[1], 48):
        painted[10:86, x - 3 : x + 3] = TRUTH[0, x]
    return painted


@pytest.fixture(params=["zyx", "tyx"])
def project(tmp_path, request):
    with Project.create(tmp_path / "p.zarr") as opened:
        entry = opened.add_image("a", stack(), request.param)
        entry.regions[2] = strokes()
        opened.flush()
        yield opened
    worker.forget()


def learn(project, context, **options):
    """Return the settings and the checkpoint after a round."""
    model = ModelSpec(channels=4, context_planes=context, **options)
    config = Config(model=model, fit=FitConfig(round_seconds=600))
    request = RoundRequest(str(project.path), config, Tile("a", (2,), ALL))
    return config, worker.run_round(request).checkpoint


@pytest.mark.parametrize(("context", "low", "high"), [(0, 0, 0.7), (1, 0.8, 1), (2, 0.93, 1)])
def test_painting_one_plane_tells_apart_what_differs_on_its_neighbours(project, context, low, high):
    config, checkpoint = learn(project, context)
    tiles = (Tile("a", (4,), ALL),)
    worker.run_tiles(TilesRequest(str(project.path), config, checkpoint, tiles))
    with Project.open(project.path, mode="r") as seen:
        for z in (2, 4):
            labels = np.asarray(seen.image("a").prediction[z])
            assert low <= agreement(labels, TRUTH) <= high


def test_a_checkpoint_brings_its_context_along(project):
    config, checkpoint = learn(project, 1)
    tiles = (Tile("a", (4,), ALL),)
    found = []
    for go in (lambda: None, worker.forget):
        go()
        worker.run_tiles(TilesRequest(str(project.path), config, checkpoint, tiles))
        with Project.open(project.path, mode="r") as seen:
            found.append(np.asarray(seen.image("a").prediction[4]))
    assert np.array_equal(*found)
    tensors, record = project.load_model(checkpoint)
    assert record["config"]["model"]["context_planes"] == 1
    assert Trainer.restore(tensors, record).model.context == 1


@pytest.mark.parametrize("context", [1, 2])
def test_a_whole_network_gets_the_planes_as_channels(project, context):
    name = "lraspp_mobilenet_v3_large"
    spec = ModelSpec(name=name, weights="none", channels=4, context_planes=context)
    source = EntrySource(project.image("a"))
    trainer = Trainer(Config(model=spec, fit=FitConfig(crop_size=64)), source.channels)
    trainer.train([source], steps=1)
    planes = 2 * context + 1
    model = Trainer.restore(*trainer.save()).model
    assert (model.in_channels, model.stacked, model.context) == (planes, context, 0)
    assert predict_box(model, source, (0,), ALL, 512, FeatureCache()).labels.all()
    # More than three are mixed as the painted planes say.
    assert torch.equal(model.mixing, torch.eye(3, planes)) == (planes == 3)


def test_neighbours_end_where_the_stack_does(project):
    source = EntrySource(project.image("a"))
    assert neighbours(source, (0,), 2) == [(1,), (2,)]
    assert neighbours(source, (MIDDLE,), 1) == [(2,), (4,)]
    assert neighbours(source, (DEPTH - 1,), 1) == [(DEPTH - 2,)]
    assert neighbours(source, (MIDDLE,), 0) == []


def test_stacked_planes_are_in_order_and_the_outermost_is_repeated(project):
    source, box = EntrySource(project.image("a")), Box(3, 60, 9, 70)
    plane = {z: source.read((z,), box) for z in range(DEPTH)}
    for z, wanted in ((3, (2, 3, 4)), (0, (0, 0, 1)), (6, (5, 6, 6))):
        found = read_stacked(source, (z,), box, 1)
        assert np.array_equal(found, np.concatenate([plane[i] for i in wanted]))
    assert np.array_equal(read_stacked(source, (3,), box, 0), plane[3])


def test_of_several_axes_the_last_leads_to_neighbours_and_2_d_has_none(tmp_path):
    rng = np.random.default_rng(0)
    with Project.create(tmp_path / "p.zarr") as project:
        source = EntrySource(project.add_image("5d", rng.random((2, 3, 40, 50)), "tzyx"))
        assert neighbours(source, (1, 0), 1) == [(1, 1)]
        flat = EntrySource(project.add_image("2d", rng.random((40, 50)), "yx"))
        own = flat.read((), Box(0, 0, 9, 9))
        assert np.array_equal(read_stacked(flat, (), Box(0, 0, 9, 9), 1), own.repeat(3, axis=0))
        model = create_model(ModelSpec(weights="none", context_planes=1), in_channels=1)
        found = predict_box(model, flat, (), Box(0, 0, 40, 50), 512, FeatureCache())
        assert found.labels.all()


def test_the_head_sees_the_plane_first_and_then_the_mean_of_its_neighbours(project):
    model = create_model(ModelSpec(weights="none", context_planes=1), in_channels=1)
    alone = create_model(ModelSpec(weights="none"), in_channels=1)
    source, cache = EntrySource(project.image("a")), FeatureCache()
    each = [tile_features(alone, source, (z,), ALL, cache) for z in (2, 3, 4)]
    both = tile_features(model, source, (3,), ALL, cache)
    for level, before, own, after in zip(both, *each, strict=True):
        width = own.shape[1]
        assert torch.equal(level[:, :width], own)
        assert torch.allclose(level[:, width:], (before + after) / 2)

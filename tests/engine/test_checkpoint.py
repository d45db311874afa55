import json
import math
from importlib.metadata import version

import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import checkpoint
from napari_cas.engine.fit import Learner
from napari_cas.engine.trainer import Trainer
from napari_cas.errors import CheckpointError
from napari_cas.models import create_model

CONFIG = Config(model=ModelSpec(channels=4, weights="none"), fit=FitConfig(max_rounds=3), seed=5)


def pair(seed=0):
    """Return a head-only network and its learner."""
    model = create_model(CONFIG.model, 3, seed)
    optimiser = torch.optim.AdamW(model.parameter_groups(), lr=0.01)
    return model, Learner(model.head, optimiser, 0.01)


def step(model, learner):
    """Take one optimiser step on fixed features."""
    width = sum(model.head.widths)
    features = torch.randn(20, width, generator=torch.Generator().manual_seed(0))
    learner.optimiser.zero_grad()
    model.head(features).square().sum().backward()
    learner.optimiser.step()
    learner.step += 1


@pytest.fixture
def trained():
    model, learner = pair()
    torch.nn.init.ones_(model.head.out.weight)
    model.mixing.mul_(2)
    for _ in range(3):
        step(model, learner)
    return model, learner


@pytest.fixture
def tensors(trained):
    return checkpoint.tensors_of(*trained)


@pytest.fixture
def record(trained):
    learner = trained[1]
    progress = checkpoint.Progress(learner.step, learner.learning_rate, "abc", 7, 2, 1)
    return checkpoint.record_of(CONFIG, 3, progress)


def test_what_is_learnt_comes_back_with_the_optimiser(trained, tensors):
    model, learner = pair(seed=1)
    checkpoint.restore(model, learner, tensors)
    for name, value in trained[0].learned().items():
        assert torch.equal(model.learned()[name], value), name
    # The next step is the same only if the moments are.
    for both in (trained, (model, learner)):
        step(*both)
    assert torch.equal(model.head.hidden.weight, trained[0].head.hidden.weight)


def test_a_network_alone_can_be_restored(trained, tensors):
    model, _ = pair(seed=1)
    checkpoint.restore(model, None, tensors)
    assert torch.equal(model.head.out.weight, trained[0].head.out.weight)


def test_tensors_are_copies_and_without_the_frozen_stem(trained, tensors):
    before = tensors["model.head.out.weight"].copy()
    trained[0].head.out.weight.data.add_(1)
    assert np.array_equal(tensors["model.head.out.weight"], before)
    assert not any("stem" in name for name in tensors)


def test_the_record_is_json_and_says_what_made_the_model(record):
    again = json.loads(json.dumps(record))
    assert checkpoint.config_in(again) == (CONFIG, 3)
    assert checkpoint.progress_in(again) == (3, 0.01, "abc", 7, 2, 1)
    # Records of before copies came in have neither.
    del again["training"]["data_since_step"], again["training"]["varied_copies"]
    assert checkpoint.progress_in(again) == (3, 0.01, "abc", 7, 0, 0)
    assert again["packages"]["torch"] == version("torch")
    assert again["training"]["seed"] == 5


@pytest.mark.parametrize("name", ["model.head.out.weight", "optimiser.0.exp_avg"])
def test_a_missing_tensor_is_named(tensors, name):
    del tensors[name]
    with pytest.raises(CheckpointError, match=name.removeprefix("model.")):
        checkpoint.restore(*pair(), tensors)


@pytest.mark.parametrize("name", ["model.head.out.bias", "optimiser.1.exp_avg_sq"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
def test_a_tensor_of_another_shape_is_refused_even_where_it_would_broadcast(tensors, name, shape):
    tensors[name] = np.full(shape, 0.5, np.float32)
    with pytest.raises(CheckpointError, match="does not fit its own record"):
        checkpoint.restore(*pair(), tensors)


@pytest.mark.parametrize("name", ["model.head.out.bias", "optimiser.1.exp_avg"])
@pytest.mark.parametrize("damage", [lambda v: v * np.float32(np.nan), lambda v: v.astype(int)])
def test_tensors_of_other_types_or_not_finite_are_refused(tensors, name, damage):
    tensors[name] = damage(tensors[name])
    with pytest.raises(CheckpointError, match=name.removeprefix("model.")):
        checkpoint.restore(*pair(), tensors)


def test_an_optimiser_without_its_step_is_refused(tensors):
    del tensors["optimiser.0.step"]
    with pytest.raises(CheckpointError, match=r"optimiser.0.step"):
        checkpoint.restore(*pair(), tensors)


@pytest.mark.parametrize("channels", [0, -3, 1, 2**40])
def test_channels_that_only_the_record_claims_allocate_nothing(tensors, record, channels):
    claimed = record | {"input": {"channels": channels}}
    assert checkpoint.config_in(claimed)[1] == channels
    with pytest.raises(CheckpointError, match="mixing"):
        Trainer.restore(tensors, claimed)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "something else"},
        {"format": None},
        {"version": checkpoint.VERSION + 1},
        {"version": "1.0"},
        {"config": {"model": {"channels": 1}}},
        {"config": {"unknown": 1}},
        {"config": None},
        {"input": {}},
        {"input": {"channels": "many"}},
        {"input": None},
    ],
)
def test_a_foreign_newer_or_damaged_record_is_refused(record, change):
    with pytest.raises(CheckpointError):
        checkpoint.config_in(record | change)


@pytest.mark.parametrize(
    "training",
    [
        None,
        {},
        [],
        {"step": "x"},
        {"step": math.nan},
        {"step": 3, "regions": None},
        {"step": math.inf},
        {"step": -1},
        {"step": 10**400},
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"learning_rate": 10**400},
    ],
)
def test_a_record_with_damaged_progress_is_refused(record, training):
    if training and len(training) == 1:
        training = record["training"] | training  # one part damaged, the rest whole
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.progress_in(record | {"training": training})

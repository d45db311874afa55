"""The worker's memory runs out, or its loss: smaller pieces, a lower rate, a message, no damage."""

import sys

import numpy as np
import psutil
import pytest

from napari_cas.config import Config, FitConfig, ModelSpec, PredictConfig
from napari_cas.jobs import LocalExecutor
from napari_cas.session import NewImage, Session, State
from napari_cas.store.models import export_model, import_model

WAIT = 280
WHOLE = ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=3)


@pytest.fixture
def executor():
    with LocalExecutor(nice=0) as executor:
        yield executor


@pytest.fixture
def make_session(executor, tmp_path):
    opened = []

    def make(config, side):
        image = np.random.default_rng(0).normal(80, 12, (side, side))
        image[:, side // 2 :] += 80
        session = Session(executor=executor, config=config)
        opened.append(session)
        session.heard = []
        session.messaged.connect(lambda message: session.heard.append(str(message)))
        session.create_project(
            tmp_path / "p.zarr", [NewImage("halves", image.clip(0, 255).astype(np.uint8), "yx")]
        )
        session.image.regions[10:40, 10:40] = 1
        session.image.regions[10:40, -40:-10] = 2
        session.stroke_finished()
        return session

    yield make
    for session in opened:
        session.close()


def warm(session):
    session.warm_up()
    assert session.run_until_idle(WAIT)
    return session.worker.pid


def limit_memory(executor, pid, mebibytes):
    """Let the worker have so much more address space than it has, as `ulimit -v` would."""
    import resource

    most = psutil.Process(pid).memory_info().vms + (mebibytes << 20)
    executor.submit("resource:setrlimit", resource.RLIMIT_AS, (most, most)).result(WAIT)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is on address space, as Linux does")
def test_with_little_memory_crops_and_tiles_shrink_and_training_goes_on(executor, make_session):
    config = Config(
        model=WHOLE,
        fit=FitConfig(round_seconds=0.2, max_rounds=2, crop_size=1024, batch_size=4),
        predict=PredictConfig(tile_size=1024),
    )
    session = make_session(config, 1024)
    pid = warm(session)
    limit_memory(executor, pid, 1200)
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    said = [text for text in session.heard if "Memory ran out; going on" in text]
    assert len(said) >= 1, session.heard
    assert len(set(said)) == len(said)
    assert len(said) == len(session.heard), session.heard
    assert session.worker.pid == pid  # nobody died
    assert np.asarray(session.image.prediction_view[...]).all()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is on address space, as Linux does")
def test_with_too_little_memory_a_message_says_what_to_change(executor, make_session):
    # Weights, gradients and moments of its 33 million parameters alone take 530 MB.
    large = ModelSpec(name="fcn_resnet50", weights="none", channels=3)
    fit = FitConfig(round_seconds=0.2, max_rounds=1, crop_size=128)
    session = make_session(Config(model=large, fit=fit), 128)
    pid = warm(session)
    limit_memory(executor, pid, 350)
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    assert session.state is State.READY
    assert any("Memory ran out" in text and "smaller tiles" in text for text in session.heard), (
        session.heard
    )
    # The strokes are there, and with another worker all is well.
    executor.shutdown()
    session.heard.clear()
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    assert session.heard == []
    assert session.checkpoint is not None


@pytest.mark.slow
def test_a_loss_that_is_never_finite_is_said_and_costs_nothing(make_session, tmp_path):
    session = make_session(Config(fit=FitConfig(round_seconds=0.2, max_rounds=2)), 128)
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    good = session.save_model(tmp_path / "good")
    tensors, record = import_model(good)
    tensors["model.head.out.weight"][:] = 3e38  # finite, but the logits are not
    export_model(tmp_path / "bad", tensors, record)
    session.load_model(tmp_path / "bad")
    bad = session.checkpoint
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    assert any("not finite" in text and "reset the model" in text for text in session.heard)
    assert session.checkpoint == bad  # nothing worse was stored
    session.heard.clear()
    session.load_model(good)
    session.fine_tune()
    assert session.run_until_idle(WAIT)
    assert session.heard == []
    labels = np.asarray(session.image.prediction_view[...])
    assert labels[20, 20] != labels[20, -20]

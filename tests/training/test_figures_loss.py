import numpy as np
import pytest

from training import figures_loss
from training.figures_loss import STEPS, WAYS, Task, draw_curves, fit, pull_on_a_collapsed_pair


def stripes():
    """Four stripes of clearly different features, a stroke across each."""
    truth = np.repeat(np.arange(1, 5), 8)[:, None].repeat(20, 1).astype(np.int32)
    noise = np.random.default_rng(0).normal(0, 0.1, (32, 20, 4))
    features = (np.eye(4)[truth - 1] + noise).astype(np.float32)
    regions = np.zeros_like(truth)
    regions[4::8, 2:18] = truth[4::8, 2:18]
    return Task(features, regions, truth)


def test_a_fit_reports_every_moment_and_the_volume_uses_a_channel_per_region():
    moments = list(fit(stripes(), WAYS["log_volume"].loss))
    assert [moment.step for moment in moments] == list(STEPS)
    assert moments[-1].channels == 4
    assert moments[-1].ari == pytest.approx(1)
    assert moments[0].ari < 0.9


def test_the_pull_of_eq_1_dies_twice_as_fast():
    pull = pull_on_a_collapsed_pair([1 - 1e-2, 1 - 1e-4])
    fall = {name: first / last for name, (first, last) in pull.items()}
    # A hundredth of the share: the squared distance loses its square, the volume the share itself.
    assert fall["squared"] == pytest.approx(1e4, rel=0.01)
    assert fall["log_volume"] == pytest.approx(1e2, rel=0.02)
    assert fall["log_overlap"] < 10


def test_draws_small_pictures(tmp_path):
    curve = {"channels": list(range(len(STEPS))), "ari": np.linspace(0, 1, len(STEPS)).tolist()}
    draw_curves(dict.fromkeys(WAYS, curve), {"regions": 5.0}, tmp_path / "curves.png")
    assert 10_000 < (tmp_path / "curves.png").stat().st_size < 150_000


def test_samples_stand_in_for_missing_data(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_CAS_DATA", str(tmp_path))
    source, task = next(figures_loss._tasks(2, 1))
    assert source == "the project's samples"
    assert task.features.shape[:2] == task.regions.shape == task.truth.shape
    assert sorted(np.unique(task.regions)) == list(range(task.regions.max() + 1))

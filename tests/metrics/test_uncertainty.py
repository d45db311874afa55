import numpy as np
import pytest
from scipy.stats import entropy

from napari_cas.metrics.uncertainty import normalised_entropy


def test_agrees_with_scipy():
    soft = np.random.default_rng(0).dirichlet(np.ones(5), (7, 9)).transpose(2, 0, 1)
    found = normalised_entropy(soft)
    assert found.dtype == np.float32
    assert np.allclose(found, entropy(soft, axis=0, base=5), atol=1e-6)


@pytest.mark.parametrize(
    ("column", "value"), [([1, 0, 0], 0), ([1 / 3] * 3, 1), ([0, 0, 0], 0), ([0.5, 0.5, 0], 0.6309)]
)
def test_ends(column, value):
    assert normalised_entropy(np.array(column)[:, None]) == pytest.approx(value, abs=1e-4)


def test_one_channel_is_always_sure():
    assert normalised_entropy(np.ones((1, 4), np.float16)).tolist() == [0] * 4

import numpy as np

from napari_cas.engine.blocks import block_means


def test_means_over_squares_and_what_is_left_of_them():
    values = np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7)
    found = block_means(values, 4)
    assert found.shape == (2, 2, 2)
    for row, column in np.ndindex(2, 2):
        part = values[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert np.allclose(found[:, row, column], part.mean((1, 2)))


def test_a_block_larger_than_all_is_all():
    assert block_means(np.array([[1.0, 2.0]]), 8).tolist() == [[1.5]]

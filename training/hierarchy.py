"""From maps to partitions at every scale: superpixels, of which the most alike are joined first.

Neighbouring parts whose descriptors (means over their pixels) lie closest are joined until one part
is left; between two joined parts counts the mean distance of their superpixels (average linkage).
Cutting that tree at a distance gives a partition. Channels of a class-agnostic network are
probabilities, so their square roots are compared: the Euclidean distance of these is Hellinger's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SUPERPIXELS = 700
COMPACTNESS = 8.0
COLOUR_WEIGHT = 2.0
"""Of CIELAB, divided by 100, beside the square roots of probabilities; from the val images."""
SCALES = tuple(float(scale) for scale in np.geomspace(0.3, 1.4, 9))
"""Distances at which trees are cut."""


def superpixels(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return about 530 small parts (H, W), from 0, of an image (H, W, 3) by SLIC."""
    from skimage.segmentation import slic

    found: NDArray[np.intp] = slic(
        image, n_segments=SUPERPIXELS, compactness=COMPACTNESS, sigma=0.5, max_num_iter=5,
        start_label=0,
    )  # fmt: skip
    return found


def colours(image: NDArray[np.uint8]) -> NDArray[Any]:
    """Return CIELAB (3, H, W), divided by 100, of an image (H, W, 3)."""
    from skimage.color import rgb2lab

    lab: NDArray[Any] = rgb2lab(image).transpose(2, 0, 1) / 100
    return lab


def descriptors(maps: NDArray[Any], parts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the mean (R, K) of maps (K, H, W) over each of R parts (H, W)."""
    where = parts.ravel()
    pixels = np.bincount(where)
    sums = [np.bincount(where, weights=one.ravel(), minlength=len(pixels)) for one in maps]
    return np.stack(sums, axis=1) / pixels[:, None]


def merged(
    features: NDArray[np.float64], parts: NDArray[np.intp], scales: Sequence[float] = SCALES
) -> list[NDArray[np.intp]]:
    """Join neighbouring parts, most alike first, and return the partition at each scale.

    Parameters
    ----------
    features : ndarray
        (R, K) descriptor of each part, R of 2 or more.
    parts : ndarray
        (H, W) integers 0..R − 1, all of them connected with each other.
    scales : sequence of float
        Distances at which the tree is cut.

    Returns
    -------
    list of ndarray
        (H, W) labels from 0, one per scale.
    """
    from scipy.cluster.hierarchy import fcluster
    from sklearn.cluster import linkage_tree

    children, _, _, _, distances = linkage_tree(
        features, connectivity=borders(parts), linkage="average", return_distance=True
    )
    # With a restricted neighbourhood a later union may be closer than an earlier one; as in
    # ultrametric contour maps, what is joined stays so.
    heights = np.maximum.accumulate(distances)
    tree = np.column_stack([children, heights, np.ones(len(children))])
    cuts = [fcluster(tree, scale, criterion="distance") for scale in scales]
    return [(joined.astype(np.intp) - 1)[parts] for joined in cuts]


def borders(parts: NDArray[np.intp]) -> Any:  # noqa: ANN401  # a sparse array of scipy
    """Return how many pixel edges any two parts share: a symmetric, sparse (R, R) array."""
    from scipy.sparse import coo_array

    below = np.stack([parts[:-1].ravel(), parts[1:].ravel()])
    beside = np.stack([parts[:, :-1].ravel(), parts[:, 1:].ravel()])
    pairs = np.concatenate([below, beside], axis=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    count = int(parts.max()) + 1
    one_way = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count)).tocsr()
    return one_way + one_way.T

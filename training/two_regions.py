"""An image as two regions: superpixels parted by a normalised cut, then along a short contour.

Many channels over-segment an image of two textures, and two channels must say of every texture in
the world which of two kinds it is. Here many channels describe superpixels, beside colour and the
energies of a filter bank if wanted, and each image is parted in two by itself. Superpixels know the
border to a few pixels; what lies well inside can then teach the tool's own network, on this image
alone, where it runs. Needs no label, so it may be done on test images.

References
----------
.. [1] Shi, Malik, "Normalized cuts and image segmentation", IEEE TPAMI 22(8), 2000.
.. [2] Boykov, Veksler, Zabih, "Fast approximate energy minimization via graph cuts", IEEE TPAMI
   23(11), 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.hierarchy import borders, colours, descriptors, superpixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 0.32
"""How far away parts count as alike, as a fraction of the image's longer side."""
SMOOTHING = 6.0
"""Of filter energies, in pixels: about half a superpixel's side on each side."""
BANDWIDTH = 0.5
"""Of the affinity, in medians of the squared distances between an image's superpixels."""
CONTRAST = 4.0
"""How surely a superpixel at the mean of one region is of that region, in nats."""
CONTOUR = 1.0
"""Cost of a contour as long as a superpixel's side, in nats."""
ROUNDS = 2
MARGIN = 6.0
"""So many pixels from the border of a partition is what the border is drawn anew from."""
_FEWEST = 64
"""Pixels a region must have inside the margin, else half the margin is left."""
_CAPACITY = 10_000
"""Costs of one nat in scipy's integer capacities."""


@dataclass(frozen=True)
class Parts:
    """The superpixels of an image.

    Attributes
    ----------
    image : ndarray
        (H, W, 3) uint8.
    labels : ndarray
        (H, W) from 0 to R − 1.
    pixels : ndarray
        (R,) float64, the size of each.
    borders : sparse array
        (R, R) symmetric: pixel edges that two parts share.
    places : ndarray
        (R, 2) mean row and column, as fractions of the image's longer side.
    colour : ndarray
        (R, 3) mean of CIELAB / 100.
    texture : ndarray
        (R, 15) mean of :func:`energies`.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.intp]
    pixels: NDArray[np.float64]
    borders: Any
    places: NDArray[np.float64]
    colour: NDArray[np.float64]
    texture: NDArray[np.float64]

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Parts:
        """Return the superpixels of an image (H, W, 3), H and W multiples of 8."""
        labels = superpixels(image)
        places = np.indices(labels.shape) / max(labels.shape)
        return cls(
            image,
            labels,
            np.bincount(labels.ravel()).astype(np.float64),
            borders(labels),
            descriptors(places, labels),
            descriptors(colours(image), labels),
            descriptors(energies(image), labels),
        )


def energies(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much of each scale there is around every pixel.

    Parameters
    ----------
    image : ndarray
        (H, W, 3), H and W multiples of 8.

    Returns
    -------
    ndarray
        (15, H, W): square roots of gradient magnitude and absolute Hessian eigenvalues of the grey
        image at five scales (:class:`napari_cas.models.filters.FilterBank`), smoothed.
    """
    import torch
    from scipy.ndimage import gaussian_filter
    from torch.nn import functional as nnf

    from napari_cas.models.filters import FilterBank

    bank = FilterBank(1)
    grey = torch.from_numpy(image.astype(np.float32).mean(2))[None, None]
    with torch.inference_mode():
        levels = bank(grey)
    flat = [one for level in levels for one in level][1:]  # without the image itself
    maps = [one.abs().sqrt() for i, one in enumerate(flat) if i % 4]  # nor blurred ones
    whole = [nnf.interpolate(one, size=image.shape[:2], mode="bilinear")[0, 0] for one in maps]
    return np.stack([gaussian_filter(one.numpy(), SMOOTHING) for one in whole])


def two_regions(
    parts: Parts,
    maps: NDArray[np.float32] | None = None,
    colour: float = 0.0,
    texture: float = 0.0,
) -> NDArray[np.intp]:
    """Part an image in two.

    Parameters
    ----------
    parts : Parts
        Its superpixels.
    maps : ndarray, optional
        (M, H, W) softmax; the square roots of its means over superpixels describe them, so that
        the Euclidean distance is Hellinger's.
    colour, texture : float
        Weights of the superpixels' colour and texture beside them.

    Returns
    -------
    ndarray
        (H, W) labels 1 and 2; which is which means nothing.
    """
    features = [colour * parts.colour, texture * parts.texture]
    if maps is not None:
        features.append(descriptors(np.sqrt(maps), parts.labels))
    described = np.concatenate(features, axis=1)
    second = normalised_cut(described, parts)
    for _ in range(ROUNDS):
        second = shortened(second, described, parts)
    return second.astype(np.intp)[parts.labels] + 1


def drawn_anew(
    image: NDArray[np.uint8], partition: NDArray[np.intp], margin: float = MARGIN
) -> NDArray[np.intp]:
    """Draw the border between two regions where the image has it.

    What lies well inside either region is given to :func:`napari_cas.fine_tune` as two strokes,
    which then segments the image: one round, a second or so.

    Parameters
    ----------
    image : ndarray
        (H, W, 3).
    partition : ndarray
        (H, W) labels 1 and 2.
    margin : float
        Pixels on either side of the border that are not believed.

    Returns
    -------
    ndarray
        (H, W) labels 1 and 2; `partition` itself where there is nothing to learn from.
    """
    import napari_cas
    from napari_cas.config import Config, FitConfig, ModelSpec

    strokes = _insides(partition, margin)
    if not ((strokes == 1).any() and (strokes == 2).any()):
        return partition
    config = Config(model=ModelSpec(channels=2), fit=FitConfig(max_rounds=1))
    model = napari_cas.fine_tune([image], [strokes], config)
    soft = napari_cas.predict(model, image).probabilities
    means = [soft[:, partition == region].mean(1) for region in (1, 2)]
    second = int(means[1][1] - means[0][1] > means[1][0] - means[0][0])
    found: NDArray[np.intp] = np.where(soft.argmax(0) == second, 2, 1)
    return found


def _insides(partition: NDArray[np.intp], margin: float) -> NDArray[np.int32]:
    """Return what lies further than `margin` from the other region, 0 elsewhere."""
    from scipy.ndimage import distance_transform_edt

    strokes = np.zeros(partition.shape, np.int32)
    for region in (1, 2):
        depth = distance_transform_edt(partition == region)
        least = margin
        while least >= 1 and np.count_nonzero(depth > least) < _FEWEST:
            least /= 2
        strokes[depth > least] = region
    return strokes


def normalised_cut(features: NDArray[np.float64], parts: Parts) -> NDArray[np.bool_]:
    """Part superpixels in two so that they are alike within and unlike between.

    Parameters
    ----------
    features : ndarray
        (R, K) descriptor of each superpixel, R of 2 or more.
    parts : Parts
        Where they are and how large.

    Returns
    -------
    ndarray
        (R,) whether a superpixel is in the second group.
    """
    from scipy.linalg import eigh
    from scipy.spatial.distance import pdist, squareform

    distances = squareform(pdist(features, "sqeuclidean"))
    unit = BANDWIDTH * float(np.median(distances)) + 1e-12
    afar = squareform(pdist(parts.places, "sqeuclidean")) / REACH**2
    size = parts.pixels / parts.pixels.mean()
    alike = np.exp(-distances / unit - afar) * np.outer(size, size)
    degree = alike.sum(1)
    scaled = alike / np.sqrt(np.outer(degree, degree))
    last = len(features) - 1
    _, vectors = eigh(scaled, subset_by_index=[last - 1, last - 1])
    order = np.argsort(vectors[:, 0] / np.sqrt(degree))
    # Of all thresholds of the second eigenvector the one of least normalised cut, as in [1]_.
    here = np.cumsum(degree[order])[:-1]
    within = np.diagonal(np.cumsum(np.cumsum(alike[np.ix_(order, order)], 0), 1))[:-1]
    cost = (here - within) * (1 / here + 1 / (degree.sum() - here))
    second = np.zeros(len(features), np.bool_)
    second[order[int(np.argmin(cost)) + 1 :]] = True
    return second


def shortened(
    second: NDArray[np.bool_], features: NDArray[np.float64], parts: Parts
) -> NDArray[np.bool_]:
    """Assign superpixels to the nearer of two means, at the cost of the contour between them.

    Parameters
    ----------
    second : ndarray
        (R,) which superpixels are in the second region now.
    features : ndarray
        (R, K) descriptor of each superpixel.
    parts : Parts
        The superpixels.

    Returns
    -------
    ndarray
        (R,) the assignment of least total cost, by the least cut of a graph.
    """
    if second.all() or not second.any():
        return second
    means = np.stack(
        [np.average(features[s], axis=0, weights=parts.pixels[s]) for s in (~second, second)]
    )
    distances = ((features[:, None] - means) ** 2).sum(2)
    apart = float(((means[0] - means[1]) ** 2).sum()) + 1e-12
    margin = np.clip(CONTRAST * (distances[:, 1] - distances[:, 0]) / apart, -30, 30)
    size = parts.pixels / parts.pixels.mean()
    costs = np.logaddexp(0, np.stack([-margin, margin], axis=1)) * size[:, None]
    side = float(np.sqrt(parts.pixels.mean()))
    return _least_cut(costs, CONTOUR / side * parts.borders)


def _least_cut(costs: NDArray[np.float64], between: Any) -> NDArray[np.bool_]:  # noqa: ANN401
    """Return the binary labels of least cost: (R, 2) of each, (R, R) where neighbours differ."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count = len(costs)
    source, sink = count, count + 1
    nodes, pairs = np.arange(count), between.tocoo()
    tails = np.concatenate([np.full(count, source), nodes, pairs.row])
    heads = np.concatenate([nodes, np.full(count, sink), pairs.col])
    capacities = np.concatenate([costs[:, 1], costs[:, 0], pairs.data]) * _CAPACITY
    graph = coo_array(
        (capacities.astype(np.int32), (tails, heads)), shape=(count + 2, count + 2)
    ).tocsr()
    left = graph - maximum_flow(graph, source, sink).flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    second = np.ones(count + 2, np.bool_)
    second[reached] = False
    return second[:count]

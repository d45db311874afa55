"""From maps to partitions at every scale: small parts, of which the most alike are joined first.

Neighbouring parts are joined until one is left. How far apart two of them are is said by what they
are, the distance of their descriptors (means over their pixels), and by what lies between them, the
mean contrast along their border; small parts count as somewhat closer, for annotators draw few.
Joining up to a distance gives a partition. Channels of a class-agnostic network are probabilities,
so their square roots are compared: the Euclidean distance of these is Hellinger's.

References
----------
.. [1] Arbelaez, Maire, Fowlkes, Malik, "Contour detection and hierarchical image segmentation",
   IEEE TPAMI 33(5), 2011: basins of contours, joined by the mean contrast along their border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from skimage.graph import RAG

SUPERPIXELS = 700
COMPACTNESS = 8.0
COLOUR_WEIGHT = 2.0
"""Of CIELAB, divided by 100, beside the square roots of probabilities; from the val images."""
CONTRAST_WEIGHT = 4.0
"""Of the mean contrast along a border beside the distance of descriptors; from the val images."""
CONTRAST_BLURS = (1.0, 2.0)
"""Standard deviations, in pixels, at which contrast is taken."""
BASIN_BLUR = 1.5
"""Standard deviation, in pixels, at which basins of the contrast are found; from the val images."""
SIZE_POWER = 0.1
"""To which power of the smaller part's share of the image distances are taken; from val."""
SCALES = tuple(float(scale) for scale in np.geomspace(0.15, 1.2, 16))
"""Distances up to which parts are joined."""


def superpixels(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return about 530 small parts (H, W), from 0, of an image (H, W, 3) by SLIC."""
    from skimage.segmentation import slic

    found: NDArray[np.intp] = slic(
        image, n_segments=SUPERPIXELS, compactness=COMPACTNESS, sigma=0.5, max_num_iter=5,
        start_label=0,
    )  # fmt: skip
    return found


def basins(edges: NDArray[Any]) -> NDArray[np.intp]:
    """Return the parts (H, W), from 0, that lie between ridges of the contrast (H, W).

    There is one around each minimum of the blurred contrast, some 1,000 on an image of 321×481.
    Their borders run where contrast is largest, at full resolution. Superpixels of one size cannot
    do that: an edge that passes through one is lost, and what runs beside an edge is no contour.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import label
    from skimage.morphology import local_minima
    from skimage.segmentation import watershed

    smooth = gaussian_filter(edges, BASIN_BLUR)
    # Of a constant image nothing is a minimum: it is one part.
    lowest = local_minima(smooth) if np.ptp(smooth) > 0 else np.ones(edges.shape, bool)
    found: NDArray[np.intp] = watershed(smooth, label(lowest, connectivity=2)) - 1
    return found.astype(np.intp)


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


def contrast(maps: NDArray[Any]) -> NDArray[np.float64]:
    """Return how fast maps (K, H, W) change at each pixel (H, W), at a fine and a coarser scale.

    Gradients are taken of blurred maps and multiplied by the blur's standard deviation, so that a
    soft edge counts as much as a sharp one of the same step.
    """
    from scipy.ndimage import gaussian_filter1d

    def slope(blur: float, axis: int) -> NDArray[np.float64]:
        along = gaussian_filter1d(maps, blur, axis=axis, order=1, truncate=3)
        across: NDArray[np.float64] = gaussian_filter1d(along, blur, axis=3 - axis, truncate=3)
        return across

    squares = (slope(s, 1) ** 2 + slope(s, 2) ** 2 for s in CONTRAST_BLURS)
    return np.asarray(
        sum(s * np.sqrt(q.sum(0)) for s, q in zip(CONTRAST_BLURS, squares, strict=True))
    )


def merged(
    features: NDArray[np.float64],
    parts: NDArray[np.intp],
    edges: NDArray[np.float64] | None = None,
    scales: Sequence[float] = SCALES,
) -> list[NDArray[np.intp]]:
    """Join neighbouring parts, the closest first, and return the partition at each scale.

    Parameters
    ----------
    features : ndarray
        (R, K) descriptor of each part.
    parts : ndarray
        (H, W) integers 0..R − 1, all of them connected with each other.
    edges : ndarray, optional
        (H, W) of 0 or more: what counts along a border.
    scales : sequence of float
        Distances up to which parts are joined, rising.

    Returns
    -------
    list of ndarray
        (H, W) labels from 0, one per scale.
    """
    from skimage.graph import merge_hierarchical

    graph = _graph(features, parts, np.zeros(parts.shape) if edges is None else edges)
    numbers = np.arange(len(features))
    cuts = [
        merge_hierarchical(
            numbers, graph, scale, rag_copy=False, in_place_merge=True,
            merge_func=_join, weight_func=_between,
        )
        for scale in scales
    ]  # fmt: skip
    return [joined[parts] for joined in cuts]


def _graph(features: NDArray[np.float64], parts: NDArray[np.intp], edges: NDArray[Any]) -> RAG:
    from skimage.graph import RAG

    graph = RAG()
    shares = np.bincount(parts.ravel()) / parts.size
    for number, (mean, share) in enumerate(zip(features, shares.tolist(), strict=True)):
        graph.add_node(number, labels=[number], mean=mean, share=share)
    lengths, sums = borders(parts).tocoo(), borders(parts, edges).toarray()  # small, and looked up
    for one, other, length in zip(*lengths.coords, lengths.data, strict=True):
        if one < other:
            border = {"length": float(length), "sum": float(sums[one, other])}
            graph.add_edge(int(one), int(other), _weighed(graph, int(one), int(other), border))
    return graph


def _join(graph: RAG, gone: int, kept: int) -> None:
    """Give the part that stays the mean and the share of both."""
    one, other = graph.nodes[gone], graph.nodes[kept]
    share = one["share"] + other["share"]
    other["mean"] = (one["share"] * one["mean"] + other["share"] * other["mean"]) / share
    other["share"] = share


def _between(graph: RAG, gone: int, kept: int, neighbour: int) -> dict[str, float]:
    """Return the border of two joined parts with a neighbour of either."""
    found = [graph[part][neighbour] for part in (gone, kept) if graph.has_edge(part, neighbour)]
    border = {key: sum(one[key] for one in found) for key in ("length", "sum")}
    return _weighed(graph, kept, neighbour, border)


def _weighed(graph: RAG, one: int, other: int, border: dict[str, float]) -> dict[str, float]:
    """Return a border with the distance of the parts on its sides."""
    here, there = graph.nodes[one], graph.nodes[other]
    difference = here["mean"] - there["mean"]
    apart = float(np.sqrt(difference @ difference))
    between = CONTRAST_WEIGHT * border["sum"] / border["length"]
    share = min(here["share"], there["share"])
    return border | {"weight": float((apart + between) * share**SIZE_POWER)}


def borders(parts: NDArray[np.intp], edges: NDArray[Any] | None = None) -> Any:  # noqa: ANN401
    """Return what lies between any two parts: a symmetric, sparse (R, R) array of scipy.

    Parameters
    ----------
    parts : ndarray
        (H, W) integers 0..R − 1.
    edges : ndarray, optional
        (H, W): added up along the border, of each pair of pixels the larger. Without, the pairs are
        counted.
    """
    from scipy.sparse import coo_array

    def pairs(values: NDArray[Any]) -> NDArray[Any]:
        below = np.stack([values[:-1].ravel(), values[1:].ravel()])
        beside = np.stack([values[:, :-1].ravel(), values[:, 1:].ravel()])
        return np.concatenate([below, beside], axis=1)

    places = pairs(parts)
    apart = places[0] != places[1]
    found = np.ones(int(apart.sum())) if edges is None else pairs(edges)[:, apart].max(0)
    count = int(parts.max()) + 1
    one_way = coo_array((found, tuple(places[:, apart])), shape=(count, count)).tocsr()
    return one_way + one_way.T

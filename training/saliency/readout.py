"""From a trained network to scores: which channel is the salient one, and how good its maps are.

A class-agnostic network does not say which of its channels means "salient". The channel that
correlates best with the ground truth of the validation images is chosen, once, for all test images;
the baselines are read the same way. An embedding is first clustered into two groups, on
validation pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as nnf

from napari_cas.metrics.saliency import (
    adaptive_threshold,
    f_curve,
    f_measure,
    mean_absolute_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from training.saliency.feed import Examples
    from training.saliency.loop import Trained

CAP = 0.5
"""Upper limit of T = 2·mean(S).

Above one half a threshold rejects pixels that the network itself calls salient. Chosen on
validation images against 0.9 and 1; it is also the kindest to cross-entropy, whose maps turn grey
as labels get worse.
"""

GROUPS = 2
"""Clusters that an embedding is read by: salient and the rest, as there are two channels."""


@dataclass(frozen=True)
class Reader:
    """Turns the output of a network into channel probabilities, and knows the salient channel.

    Attributes
    ----------
    channel : int
        The salient channel.
    correlations : tuple of float
        Pearson's, of every channel with the validation ground truth.
    centres : ndarray or None
        (K, M) cluster centres of an embedding.
    """

    channel: int
    correlations: tuple[float, ...]
    centres: NDArray[np.float32] | None = None


def fit_reader(trained: Trained, validation: Examples, device: str = "cpu") -> Reader:
    """Choose the salient channel on the validation images.

    Parameters
    ----------
    trained : Trained
        The network.
    validation : Examples
        Images that it was not trained on, and that nothing is tested on.
    device : str, default "cpu"
        Where the network is.
    """
    centres = None
    if trained.objective.embeds:
        centres = _cluster(trained, validation, device, GROUPS)
    sums: NDArray[np.float64] | float = 0.0
    for maps, truth in _maps(trained, validation, device, centres):
        # Moments of every channel with the truth: n, S, S², G, SG; streamed, images may be many.
        s = maps.transpose(1, 0, 2, 3).reshape(maps.shape[1], -1).astype(np.float64)
        g = truth.reshape(-1).astype(np.float64)
        one = np.ones(len(s))
        moments = [one * g.size, s.sum(1), (s * s).sum(1), one * g.sum(), s @ g]
        sums = sums + np.stack(moments)
    n, s1, s2, g1, sg = np.asarray(sums)
    spread = np.sqrt(np.maximum(s2 / n - (s1 / n) ** 2, 0) * (g1 / n) * (1 - g1 / n))
    correlations = (sg / n - s1 * g1 / n**2) / np.maximum(spread, 1e-12)
    return Reader(int(np.argmax(correlations)), tuple(map(float, correlations)), centres)


def score(
    trained: Trained, reader: Reader, test: Examples, device: str = "cpu", cap: float = CAP
) -> dict[str, float]:
    """Return the scores of a network on a test set, means over images.

    Returns
    -------
    dict
        ``f`` at T = min(2·mean(S), cap); ``f_uncapped`` with the cap at 1; ``max_f``; ``mae`` of S;
        ``mae_binary`` of the map thresholded at T; ``images``.
    """
    rows: list[tuple[float, ...]] = []
    curves = np.zeros(256)
    for maps, truth in _maps(trained, test, device, reader.centres):
        for saliency, mask in zip(maps[:, reader.channel], truth, strict=True):
            found = saliency >= adaptive_threshold(saliency, cap)
            uncapped = saliency >= adaptive_threshold(saliency, 1.0)
            rows.append(
                (
                    f_measure(found, mask),
                    f_measure(uncapped, mask),
                    mean_absolute_error(saliency, mask),
                    mean_absolute_error(found, mask),
                )
            )
            curves += f_curve(saliency, mask)
    f, f_uncapped, mae, mae_binary = np.mean(rows, axis=0)
    return {
        "f": float(f),
        "f_uncapped": float(f_uncapped),
        "max_f": float(curves.max() / len(rows)),
        "mae": float(mae),
        "mae_binary": float(mae_binary),
        "images": float(len(rows)),
    }


def chance(test: Examples) -> dict[str, float]:
    """Return the scores of a map that calls every pixel salient: what knowing nothing gets."""
    truth = test.pictures.salient(test.rows)
    everything = np.ones(truth.shape[1:], np.bool_)
    wrong = float(np.mean(~truth))
    return {
        "f": float(np.mean([f_measure(everything, mask) for mask in truth])),
        "mae": 0.5,  # of a map that says one half everywhere
        "mae_binary": wrong,
    }


@torch.inference_mode()
def saliency_maps(
    trained: Trained, reader: Reader, examples: Examples, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return the saliency maps (N, S, S) of some images, 0 to 1."""
    found = [
        maps[:, reader.channel] for maps, _ in _maps(trained, examples, device, reader.centres)
    ]
    return np.concatenate(found)


def _maps(
    trained: Trained, examples: Examples, device: str, centres: NDArray[np.float32] | None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield channel probabilities (n, K, S, S) at full size and the ground truth (n, S, S)."""
    for output, salient in _outputs(trained, examples, device):
        size = tuple(salient.shape[-2:])
        if centres is None:
            # Logits are interpolated, as inside torchvision's networks, then comes the softmax.
            whole = output if output.shape[-2:] == size else _resize(output, size)
            maps = whole.softmax(1)
        else:
            maps = _resize(_memberships(output, torch.from_numpy(centres).to(output)), size)
        yield maps.clamp(0, 1).cpu().numpy(), salient.numpy()


def _outputs(
    trained: Trained, examples: Examples, device: str, batch: int = 32
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield network outputs (n, M, h, w), float32, and ground truth (n, S, S)."""
    for start in range(0, len(examples), batch):
        which = np.arange(start, min(start + batch, len(examples)))
        inputs, salient = examples.take(which)
        model: Any = trained.model
        # Not yielded in inference mode: whoever takes it would go on in that mode.
        with torch.inference_mode():
            output = model(*(part.to(device) for part in inputs)).float()
        yield output, salient


def _resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return nnf.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _memberships(output: Tensor, centres: Tensor) -> Tensor:
    """Return soft memberships (n, K, h, w): softmax of minus squared distances to the centres.

    Distances are measured in units of the mean squared distance between centres, so that embeddings
    of any scale give maps of like contrast.
    """
    distance = (output[:, None] - centres[None, :, :, None, None]).square().sum(2)
    unit = torch.cdist(centres, centres).square().sum() / (len(centres) * (len(centres) - 1))
    return (-8.0 * distance / unit.clamp(min=1e-12)).softmax(1)


def _cluster(
    trained: Trained, validation: Examples, device: str, clusters: int
) -> NDArray[np.float32]:
    """Return k-means centres (K, M) of embedded validation pixels, every 7th of every image."""
    from sklearn.cluster import KMeans

    pixels = [
        output.permute(0, 2, 3, 1).reshape(-1, output.shape[1])[::7].cpu().numpy()
        for output, _ in _outputs(trained, validation, device)
    ]
    fitted = KMeans(clusters, n_init=4, random_state=0).fit(np.concatenate(pixels))
    return np.asarray(fitted.cluster_centers_, dtype=np.float32)

"""scikit-image's recipe for trainable segmentation: filters and a random forest.

From its gallery, "Trainable segmentation using local features and random forests", with the
published parameters: features of scales 1 to 16, 50 trees of depth 10, each grown on 5 % of the
painted pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def features(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return (Y, X, F) intensity, edge and texture features of a (Y, X[, C]) image."""
    from skimage.feature import multiscale_basic_features

    found = multiscale_basic_features(
        image, sigma_min=1, sigma_max=16, channel_axis=-1 if image.ndim == 3 else None
    )
    return np.asarray(found, dtype=np.float32)


def forest(seed: int = 0, *, share: float | None = 0.05) -> Any:  # noqa: ANN401 - sklearn is untyped
    """Return the recipe's classifier; `share` of the painted pixels grow each tree."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=50, n_jobs=-1, max_depth=10, max_samples=share, random_state=seed
    )


def segment(
    image: NDArray[Any], painted: NDArray[np.integer[Any]], *, seed: int = 0
) -> NDArray[np.int64]:
    """Segment an image by the recipe: features, fit and prediction.

    Parameters
    ----------
    image : ndarray
        (Y, X) or (Y, X, C).
    painted : ndarray
        (Y, X) integers, 0 is unpainted.
    seed : int
        Seed of the forest.

    Returns
    -------
    ndarray
        (Y, X) int64, ids of `painted`.
    """
    from skimage.future import fit_segmenter, predict_segmenter

    described = features(image)
    fitted = fit_segmenter(painted, described, forest(seed))
    return np.asarray(predict_segmenter(described, fitted), dtype=np.int64)


def fit_and_apply(
    described: Sequence[NDArray[np.float32]],
    painted: Sequence[NDArray[np.integer[Any]]],
    others: Sequence[NDArray[np.float32]],
    *,
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Fit one forest on several painted images and predict others.

    Parameters
    ----------
    described : sequence of ndarray
        (Y, X, F) features of the painted images.
    painted : sequence of ndarray
        (Y, X) integers each, 0 is unpainted.
    others : sequence of ndarray
        (Y, X, F) features of the images to predict.
    seed : int
        Seed of the forest.

    Returns
    -------
    list of ndarray
        (Y, X) int64 each, ids of `painted`.
    """
    rows = np.concatenate([f[p > 0] for f, p in zip(described, painted, strict=True)])
    names = np.concatenate([p[p > 0] for p in painted])
    # 5 % of few pixels would leave trees of a handful; the recipe was made for one large image.
    fitted = forest(seed, share=min(1.0, max(0.05, 2000 / len(rows)))).fit(rows, names)
    flat = [np.asarray(fitted.predict(f.reshape(-1, f.shape[-1]))) for f in others]
    return [p.reshape(f.shape[:2]) for p, f in zip(flat, others, strict=True)]

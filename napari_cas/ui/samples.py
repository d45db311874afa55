"""File → Open Sample: the samples that come with the package, as napari layers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LayerData = tuple[Any, dict[str, Any], str]


def sample_layers(name: str) -> list[LayerData]:
    """Return the layers of a sample: its image, without the strokes that ship with it.

    Parameters
    ----------
    name : str
        As in `napari_cas.samples.list_samples`.
    """
    from napari_cas.samples import load_sample

    sample = load_sample(name)
    rgb = sample.image.ndim == 3 and sample.image.shape[-1] == 3
    return [(sample.image, {"name": name, "rgb": rgb}, "image")]


def __getattr__(attribute: str) -> Callable[[], list[LayerData]]:
    """Make ``open_<sample>`` for the manifest, one function a sample."""
    if attribute.startswith("open_"):
        return partial(sample_layers, attribute.removeprefix("open_"))
    raise AttributeError(attribute)

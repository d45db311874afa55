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
    rgb = sample.axes.endswith("c") and sample.image.shape[-1] in (3, 4)
    axes = sample.axes[:-1] if rgb else sample.axes
    options: dict[str, Any] = {"name": name, "rgb": rgb, "axis_labels": tuple(axes)}
    if not rgb:  # of 8 bits napari shows all that there could be: dim nuclei would be black
        options["contrast_limits"] = (int(sample.image.min()), int(sample.image.max()))
    if sample.sample.scale is not None:
        options["scale"] = sample.sample.scale
    return [(sample.image, options, "image")]


def menu() -> list[tuple[str, str]]:
    """Return name and title of each sample; none when the installation lacks them."""
    from napari_cas.errors import CASError
    from napari_cas.samples import list_samples

    try:
        return [(sample.name, sample.title) for sample in list_samples()]
    except CASError:
        return []


def __getattr__(attribute: str) -> Callable[[], list[LayerData]]:
    """Make ``open_<sample>`` for the manifest, one function a sample."""
    if attribute.startswith("open_"):
        return partial(sample_layers, attribute.removeprefix("open_"))
    raise AttributeError(attribute)

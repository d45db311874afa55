"""Samples as the menu opens them."""

from __future__ import annotations

import pytest
from napari.layers import Image

from napari_cas.ui import samples


@pytest.mark.parametrize("name", [name for name, _ in samples.menu()])
def test_each_sample_is_a_layer_that_shows_something(name):
    ((data, options, kind),) = samples.sample_layers(name)
    assert kind == "image"
    layer = Image(data, **options)
    assert layer.name == name
    if not layer.rgb:
        low, high = layer.contrast_limits
        assert (low, high) == (data.min(), data.max())
        # Nobody's first picture is black.
        assert (data > low + (high - low) / 4).mean() > 0.01

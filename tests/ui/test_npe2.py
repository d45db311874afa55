"""The manifest, the samples, the writer and the reader, as napari finds them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import zarr
from npe2 import PluginManifest

from napari_cas.errors import CASError
from napari_cas.samples import list_samples, load_sample
from napari_cas.ui import reader, samples, writer


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-cas")


def test_every_command_of_the_manifest_exists(manifest):
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id


def test_menus_are_ones_that_plugins_may_fill(manifest):
    from napari._app_model.constants import MenuId

    allowed = {str(menu) for menu in MenuId.contributables()}
    for menu in manifest.contributions.menus:
        assert menu in allowed or menu.startswith("napari-cas/")


def test_the_manifest_lists_all_samples(manifest):
    listed = {entry.key: entry.display_name for entry in manifest.contributions.sample_data}
    assert listed == {sample.name: sample.title for sample in list_samples()}


@pytest.mark.parametrize("name", [sample.name for sample in list_samples()])
def test_samples_open_as_image_layers(name):
    from napari.layers import Image

    ((pixels, options, kind),) = getattr(samples, f"open_{name}")()
    layer = Image(pixels, **options)
    assert kind == "image"
    assert layer.name == name
    assert layer.rgb == load_sample(name).axes.endswith("c")


def test_layers_are_written_as_ome_zarr(tmp_path):
    from napari_cas.store.validate import validate

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (4, 50, 60)).astype(np.uint8)
    regions = rng.integers(0, 4, (4, 50, 60)).astype(np.int32)
    labels = rng.integers(1, 9, (4, 50, 60)).astype(np.uint8)
    target = tmp_path / "out.zarr"
    written = writer.write_ome_zarr(
        str(target),
        [
            (image, {"name": "cells", "scale": (2.0, 0.5, 0.5)}, "image"),
            (regions, {"name": "mine"}, "labels"),
            (labels, {"name": "prediction"}, "labels"),
        ],
    )
    assert written == [str(target)]
    assert not list(validate(target))
    found = zarr.open_group(str(target), mode="r")
    assert np.array_equal(found["0"][...], image)
    assert np.array_equal(found["labels/regions/0"][...], regions)
    assert np.array_equal(found["labels/prediction/0"][...], labels)


def test_labels_alone_are_written(tmp_path):
    labels = np.arange(48 * 64).reshape(48, 64) % 7
    writer.write_labels(str(tmp_path / "l.zarr"), labels, {"name": "objects"})
    found = zarr.open_group(str(tmp_path / "l.zarr"), mode="r")
    assert np.array_equal(found["regions/0"][...], labels)


def test_labels_of_another_shape_are_refused(tmp_path, ramp):
    layers = [
        (ramp(40, 50), {"name": "a"}, "image"),
        (np.zeros((40, 51), np.int32), {"name": "wrong"}, "labels"),
    ]
    with pytest.raises(CASError, match="expected the image's shape"):
        writer.write_ome_zarr(str(tmp_path / "x.zarr"), layers)
    assert not (tmp_path / "x.zarr").exists()


def test_projects_can_be_looked_at_and_nothing_else_is_claimed(project, ramp, tmp_path):
    from napari.layers import Image, Labels

    entry = project.add_image("im", ramp(40, 50), "yx")
    entry.regions[3:5, 3:5] = 2
    entry.flush()
    read = reader.get_reader(str(project.path))
    kinds = {"image": Image, "labels": Labels}
    layers = [kinds[kind](data, **options) for data, options, kind in read(str(project.path))]
    assert [layer.name for layer in layers] == ["im", "prediction", "regions"]
    assert np.asarray(layers[2].data)[3, 3] == 2
    zarr.create_group(str(tmp_path / "other.zarr"))
    assert reader.get_reader(str(tmp_path / "other.zarr")) is None
    assert reader.get_reader(str(tmp_path / "none.zarr")) is None

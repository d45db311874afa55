"""The samples that ship with the package: complete, small, licensed and worth painting on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_cas import samples
from napari_cas.errors import InputError
from napari_cas.samples import SampleError, list_samples, load_sample

NAMES = [sample.name for sample in list_samples()]


def test_there_are_several_and_their_names_are_unique():
    assert len(NAMES) >= 5
    assert len(set(NAMES)) == len(NAMES)


def test_the_folder_is_small_and_holds_nothing_unlisted():
    folder = samples.folder()
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    listed = {path for s in list_samples() for paths in s.files.values() for path in paths}
    assert files == listed | {"index.json", "README.md"}
    assert sum((folder / path).stat().st_size for path in files) < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_arrays_fit_each_other(name):
    data = load_sample(name)
    assert data.image.ndim == len(data.axes)
    assert data.axes in ("yx", "yxc", "tyx", "zyx")
    shape = data.image.shape[:-1] if data.axes.endswith("c") else data.image.shape
    assert data.strokes.shape == shape
    assert max(shape[-2:]) <= 512
    assert data.image.dtype == data.strokes.dtype == np.uint8
    assert data.truth is not None
    assert data.truth.shape == shape
    assert set(np.unique(data.truth)) - {0} == set(data.sample.classes)


@pytest.mark.parametrize("name", NAMES)
def test_every_stroke_lies_within_one_class_and_every_class_is_painted(name):
    data = load_sample(name)
    planes = data.strokes[None] if data.strokes.ndim == 2 else data.strokes
    truths = data.truth[None] if data.truth.ndim == 2 else data.truth
    painted = [plane.any() for plane in planes]
    assert painted[0]
    for strokes, truth in zip(planes[painted], truths[painted], strict=True):
        meant = set()
        for region in np.unique(strokes)[1:]:
            values = np.bincount(truth[(strokes == region) & (truth > 0)])
            assert values.max() >= 0.98 * values.sum()
            assert (strokes == region).sum() >= 40
            meant.add(int(values.argmax()))
        assert meant == set(data.sample.classes)  # two regions are never one class
        assert 0.001 < (strokes > 0).mean() < 0.1


def test_in_the_stack_a_number_means_something_else_on_each_painted_plane():
    data = load_sample("stack")
    meant = [
        int(np.bincount(truth[strokes == 1]).argmax())
        for strokes, truth in zip(data.strokes, data.truth, strict=True)
        if strokes.any()
    ]
    assert len(meant) == 2
    assert meant[0] != meant[1]
    assert not data.strokes[2:].any()


def test_sources_and_licences_are_in_the_readme_too():
    text = (samples.folder() / "README.md").read_text(encoding="utf-8")
    for sample in list_samples():
        assert sample.license == "CC0-1.0"
        assert len(sample.source) > 20
        assert f"| `{sample.name}` |" in text


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="cells or tissue"):
        load_sample("nothing")


@pytest.mark.parametrize("content", ["{", '{"format": 1}', '{"format": 99, "samples": []}'])
def test_a_damaged_index_is_a_typed_error(tmp_path, monkeypatch, content):
    (tmp_path / "index.json").write_text(content)
    monkeypatch.setattr(samples, "folder", lambda: tmp_path)
    with pytest.raises(SampleError, match=r"damaged|another format"):
        list_samples()


def test_a_missing_picture_is_named(tmp_path, monkeypatch):
    index = json.loads((samples.folder() / "index.json").read_text(encoding="utf-8"))
    (tmp_path / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr(samples, "folder", lambda: tmp_path)
    with pytest.raises(SampleError, match=r"cells/strokes\.png"):
        load_sample("cells")


def test_the_installed_place_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "napari_cas"
    monkeypatch.setattr(samples, "__file__", str(package / "samples.py"))
    with pytest.raises(SampleError, match="missing"):
        samples.folder()
    for place in (tmp_path / "sample_data", package / "_sample_data"):
        place.mkdir(parents=True)
        (place / "index.json").write_text("{}")
        assert samples.folder() == place


def test_loading_needs_neither_torch_nor_napari():
    code = (
        "import sys; from napari_cas.samples import load_sample; load_sample('cells');"
        "print([m for m in ('torch', 'napari', 'skimage', 'scipy') if m in sys.modules])"
    )
    here = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here
    )
    assert done.stdout.strip() == "[]"

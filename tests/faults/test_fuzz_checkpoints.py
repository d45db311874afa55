"""Any damage to a model's files: a typed error or a model that works, and memory stays bounded."""

from __future__ import annotations

import json
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_cas
from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import worker
from napari_cas.errors import CASError
from napari_cas.protocol import Box, RoundRequest, Tile
from napari_cas.session import models
from napari_cas.store import Project

from .hostile import examples, spoilt_bytes, spoilt_json, within_memory

EXAMPLES = [8, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (64, 64, 3)).astype(np.uint8)
CONFIG = Config(
    model=ModelSpec(channels=3, weights="none"), fit=FitConfig(max_rounds=1, round_seconds=600)
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return the weights' bytes and the record of a good model."""
    regions = np.zeros((64, 64), np.int32)
    regions[5:20, 5:20], regions[40:60, 40:60] = 1, 2
    folder = tmp_path_factory.mktemp("good") / "m"
    napari_cas.fine_tune([IMAGE], [regions], CONFIG).save(folder)
    weights = (folder / "weights.safetensors").read_bytes()
    return weights, json.loads((folder / "model.json").read_text())


@st.composite
def headers(draw, weights):
    """Return the bytes of a safetensors file whose header was changed, its data left alone."""
    size = struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8 : 8 + size])
    text = json.dumps(draw(spoilt_json(header))).encode()
    claimed = draw(st.sampled_from((len(text), len(text), len(text), 2**40, 2**63, 0)))
    return struct.pack("<Q", claimed) + text + weights[8 + size :]


def use(folder, project):
    """Load a model in every public way, predict with it, and train on from it."""
    for act in (lambda: load_and_predict(folder), lambda: go_on(folder, project)):
        with suppress(CASError):
            act()


def load_and_predict(folder):
    found = napari_cas.load(folder).predict(IMAGE[:40, :40])
    assert found.labels.shape == (40, 40)


def go_on(folder, project):
    name, spec, _ = models.load(project, folder)
    view = Tile("a", (), Box(0, 0, 64, 64))
    config = CONFIG.model_copy(update={"model": spec})
    request = RoundRequest(
        project=str(project.path), config=config, checkpoint=name, view=view, train=True
    )
    report = worker.run_round(request)
    assert report.checkpoint in project.models


@pytest.mark.parametrize("count", EXAMPLES)
def test_any_damage_to_a_model_is_a_typed_error_or_harmless(good, count):
    weights, record = good
    spoilt_weights = headers(weights) | spoilt_bytes(weights)
    spoilt_record = spoilt_json(record).map(lambda v: json.dumps(v).encode()) | spoilt_bytes(
        json.dumps(record).encode()
    )

    @examples(count)
    @given(st.data())
    def any_damage(data):
        first = data.draw(st.booleans())
        spoilt = data.draw(spoilt_weights if first else spoilt_record)
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "m"
            folder.mkdir()
            (folder / "weights.safetensors").write_bytes(spoilt if first else weights)
            (folder / "model.json").write_bytes(json.dumps(record).encode() if first else spoilt)
            with Project.create(Path(made) / "p.zarr") as project, within_memory(2048):
                entry = project.add_image("a", IMAGE, "yxc")
                entry.regions[5:20, 5:20], entry.regions[40:60, 40:60] = 1, 2
                project.flush()
                use(folder, project)
            assert {p.name for p in Path(made).iterdir()} == {"m", "p.zarr"}
        worker.forget()

    any_damage()

"""Model files are exact, whole or refused, and never executed."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_cas.errors import CASError, CheckpointError
from napari_cas.store.models import decode_tensors, read_model, write_model


@pytest.fixture
def model(tmp_path, rng):
    tensors = {
        "weight": rng.normal(size=(4, 3)).astype(np.float32),
        "half": rng.normal(size=5).astype(np.float16),
        "steps": np.array(7),
        "mask": np.array([True, False]),
        "turned": np.asfortranarray(rng.normal(size=(3, 2))),
        "empty": np.zeros((0, 3), np.float32),
    }
    write_model(tmp_path / "m", tensors, {"config": {"alpha": 0.9}, "seed": 1})
    return tmp_path / "m", tensors


def test_tensors_and_record_come_back_exactly(model):
    path, tensors = model
    got, record = read_model(path)
    assert record == {"config": {"alpha": 0.9}, "seed": 1}
    assert got.keys() == tensors.keys()
    for name, value in tensors.items():
        assert got[name].dtype == value.dtype
        assert got[name].flags.writeable
        np.testing.assert_array_equal(got[name], value)


@pytest.mark.parametrize(
    ("tensors", "record"),
    [
        ({"a": np.array(["text"])}, {}),
        ({"a": np.array([None])}, {}),
        ({"a": np.ones(2)}, {"when": object()}),
        ({"a": np.ones(2)}, {"loss": float("nan")}),
    ],
)
def test_what_cannot_be_stored_without_loss_is_refused(model, tensors, record):
    path, _ = model
    with pytest.raises(CheckpointError):
        write_model(path, tensors, record)
    assert read_model(path)[1]["seed"] == 1


DAMAGES = {
    "gone": lambda p: [f.unlink() for f in p.iterdir()],
    "no record": lambda p: (p / "model.json").unlink(),
    "no weights": lambda p: (p / "weights.safetensors").unlink(),
    "truncated": lambda p: (p / "weights.safetensors").write_bytes(
        (p / "weights.safetensors").read_bytes()[:-4]
    ),
    "flipped bit": lambda p: (p / "weights.safetensors").write_bytes(
        (p / "weights.safetensors").read_bytes()[:-1] + b"\xff"
    ),
    "pickle": lambda p: (p / "weights.safetensors").write_bytes(pickle.dumps({"a": 1})),
    "foreign record": lambda p: (p / "model.json").write_text('{"format": "other"}'),
    "newer record": lambda p: (p / "model.json").write_text(
        json.dumps({**json.loads((p / "model.json").read_text()), "version": 2})
    ),
    "no JSON": lambda p: (p / "model.json").write_bytes(b"\x80\x04"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_models_are_refused_by_name(model, damage):
    path, _ = model
    DAMAGES[damage](path)
    with pytest.raises(CheckpointError, match=str(path)):
        read_model(path)


def test_a_lying_header_allocates_nothing():
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    for data in (
        struct.pack("<Q", len(header)) + header.encode(),
        struct.pack("<Q", 1 << 60) + b"{}",
        b"",
        b"\x00" * 8,
    ):
        with pytest.raises(CheckpointError):
            decode_tensors(data, "x")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_is_a_typed_error_or_harmless(model, data):
    path, _ = model
    good = (path / "weights.safetensors").read_bytes()
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        got = decode_tensors(bytes(damaged[:cut]), "fuzzed")
    except CASError:
        return
    assert sum(value.nbytes for value in got.values()) <= len(good)

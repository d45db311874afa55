"""Model files are exact, whole or refused, and never executed."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from napari_cas.errors import CASError, CheckpointError, StorageError
from napari_cas.store.models import (
    decode_tensors,
    digest_of,
    export_model,
    import_model,
    input_channels,
    read_model,
    write_model,
)


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


def test_weights_are_the_bytes_of_the_safetensors_library(tmp_path, rng):
    kinds = ["bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]
    tensors = {f"{i} {kind}": rng.random((i + 1, 3)).astype(kind) for i, kind in enumerate(kinds)}
    tensors |= {'ä"': np.ones(3, ">f4"), "one": np.array(2.5), "none": np.zeros((0, 3), "f4")}
    tensors["turned"] = np.asfortranarray(rng.random((3, 2)))
    digest = write_model(tmp_path / "m", tensors, {})
    dense = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    dense["one"] = tensors["one"]
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() == save(dense)
    assert digest == digest_of(tensors)


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


def test_an_exported_model_replaces_a_model_and_nothing_else(tmp_path):
    export_model(tmp_path / "m", {"w": np.ones(2)}, {"i": 1})
    export_model(tmp_path / "m", {"w": np.zeros(2)}, {"i": 2})
    tensors, record = import_model(tmp_path / "m")
    assert (tensors["w"].tolist(), record) == ([0, 0], {"i": 2})
    (tmp_path / "m" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match=r"thesis.tex.*another folder"):
        export_model(tmp_path / "m", {"w": np.zeros(2)}, {"i": 3})
    (tmp_path / "photo").write_bytes(b"not a folder")
    with pytest.raises(StorageError):
        export_model(tmp_path / "photo", {"w": np.zeros(2)}, {"i": 3})
    assert (tmp_path / "photo").read_bytes() == b"not a folder"
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "weights.safetensors",
        "model.json",
        "thesis.tex",
    }


SAVER = """
    import sys
    from pathlib import Path
    import numpy as np
    from napari_cas.store.models import export_model
    for i in range(1_000_000):
        export_model(Path(sys.argv[1]), {"w": np.full(200_000, i, np.float32)}, {"i": i})
        if i == 0:
            print("saved", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_what_is_known_of_a_projects_planes_stays_there(tmp_path):
    tensors = {"model.w": np.ones(3, np.float32), "accepted.0": np.ones((2, 4), np.int32)}
    planes = [{"image": "secret", "plane": [], "channel": {}}]
    record = {"training": {"step": 3, "planes": planes}}
    export_model(tmp_path / "out", tensors, record)
    assert "secret" not in (tmp_path / "out" / "model.json").read_text()
    write_model(tmp_path / "inside", tensors, record)  # as in a project
    for folder in ("out", "inside"):
        found, said = import_model(tmp_path / folder)
        assert found.keys() == {"model.w"}
        assert said["training"] == {"step": 3, "planes": []}
    assert read_model(tmp_path / "inside")[0].keys() == tensors.keys()
    # One that an earlier version made says nothing of planes; where it comes to, none is known.
    export_model(tmp_path / "old", {"model.w": tensors["model.w"]}, {"training": {"step": 3}})
    assert import_model(tmp_path / "old")[1]["training"]["planes"] == []


def test_an_exported_model_is_whole_whenever_its_writer_is_killed(tmp_path, run_script):
    for seed in range(5):
        folder = tmp_path / f"m{seed}"
        process = run_script(SAVER, folder)
        process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        tensors, record = import_model(folder)
        assert (tensors["w"] == record["i"]).all()
        if seed == 0:  # what a kill between the two renames of a replacement leaves
            if folder.exists():  # else this kill came there by itself
                shutil.rmtree(tmp_path / ".tmp-m0.aside", ignore_errors=True)
                folder.rename(tmp_path / ".tmp-m0.aside")
            assert import_model(folder)[1] == record


@pytest.mark.skipif(os.name == "nt", reason="resource limits are POSIX")
def test_a_write_that_fails_leaves_the_old_export(tmp_path, run_script):
    export_model(tmp_path / "m", {"w": np.ones(2)}, {"i": 1})
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from napari_cas.errors import StorageError
        from napari_cas.store.models import export_model
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            export_model(Path(sys.argv[1]), {"w": np.zeros(100_000)}, {"i": 2})
        except StorageError as error:
            print(error)
    """
    process = run_script(code, tmp_path / "m")
    assert "File too large" in process.stdout.read()
    assert process.wait() == 0
    assert import_model(tmp_path / "m")[1] == {"i": 1}
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".py")] == ["m"]


def test_a_folder_without_a_model_is_told_in_one_plain_sentence(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        import_model(tmp_path)
    assert str(caught.value) == (
        f"No readable model at {tmp_path}: expected a folder with weights.safetensors and "
        "model.json, got no weights.safetensors and no model.json. "
        "Choose the folder of a saved model."
    )


def test_a_model_is_read_from_within_its_folder(tmp_path, monkeypatch):
    export_model(tmp_path / "m", {"a": np.ones(2)}, {"some": "record"})
    monkeypatch.chdir(tmp_path / "m")
    assert import_model(Path())[1] == {"some": "record"}
    with pytest.raises(CheckpointError, match="No readable model at /"):
        import_model(Path("/"))


def test_a_folder_that_cannot_be_looked_at_is_a_typed_error():
    with pytest.raises(CheckpointError, match="too long"):
        import_model(Path("a" * 300))


@pytest.mark.parametrize(
    ("record", "channels"),
    [
        ({"input": {"channels": 3}}, 3),
        ({"input": {"channels": "many"}}, None),
        ({"input": None}, None),
        ({}, None),
    ],
)
def test_channels_are_told_or_not_said(record, channels):
    assert input_channels(record) == channels

"""Exports hold what was painted a moment ago, or say that they do not."""

import numpy as np
import pytest
import zarr

from napari_cas.errors import StorageError
from napari_cas.session import NewImage, Session

WAIT = 60


@pytest.fixture
def session(tmp_path):
    made = Session()
    made.heard = []
    made.messaged.connect(made.heard.append)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8)
    made.create_project(tmp_path / "p.zarr", [NewImage("cells", pixels, "yx")])
    yield made
    made.close()


def exported(session, path):
    session.export(path).result(WAIT)
    session.run_until_idle(1)
    return zarr.open_group(str(path), mode="r")


def test_a_stroke_not_yet_finished_is_in_the_export(session, tmp_path):
    session.image.regions[10:20, 30:40] = 7
    session.image.prediction_view[0:4, 0:5] = 3
    assert session.image.regions.dirty
    found = exported(session, tmp_path / "out.zarr")
    regions = found["labels/regions/0"][...]
    assert (regions[10:20, 30:40] == 7).all()
    assert np.count_nonzero(regions) == 100
    assert (found["labels/prediction/0"][0:4, 0:5] == 3).all()
    assert [message.level for message in session.heard] == ["info"]


def test_strokes_that_cannot_be_saved_are_said_to_be_missing(session, tmp_path):
    """A file in a directory's place makes the system refuse the write, as a full disk would."""
    session.image.regions[0:5, 0:5] = 1
    session.stroke_finished()
    folder = tmp_path / "p.zarr" / "images" / "cells" / "labels" / "regions"
    (chunk,) = [p for p in folder.rglob("*") if p.is_file() and p.name == "0"]
    in_the_way = chunk.parent.parent / "1"
    in_the_way.touch()
    session.image.regions[290, 0:5] = 2
    regions = exported(session, tmp_path / "out.zarr")["labels/regions/0"][...]
    assert isinstance(session.heard[0].error, StorageError)
    assert session.heard[1].level == "warning"
    assert "without the last strokes" in session.heard[1].text
    assert int(regions[0, 0]) == 1
    assert int(regions[290, 0]) == 0
    in_the_way.unlink()
    assert session.run_until_idle(20)
    regions = exported(session, tmp_path / "again.zarr")["labels/regions/0"][...]
    assert int(regions[290, 0]) == 2
    assert session.heard[-1].level == "info"

"""Where to paint next, over the images of a project."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.errors import CheckpointError
from napari_cas.protocol import Box, Doubt
from napari_cas.session import NewImage, Session
from napari_cas.session.doubtful import Place
from napari_cas.store import Project


@pytest.fixture
def session(tmp_path):
    made = Session()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 80, 100), dtype=np.uint8)
    images = [NewImage("flat", pixels[0], "yx"), NewImage("stack", pixels, "zyx")]
    made.create_project(tmp_path / "p.zarr", images)
    made._work.use("m")
    yield made
    made.close()


def note(session, name, plane, *doubts, box=(0, 0, 80, 100), model="m"):
    with Project.open(session.project.path, mode="worker") as worker:
        worker.image(name).mark_predicted(model, [(plane, Box(*box))], doubts=doubts)


def test_the_most_doubtful_first_over_all_images_then_again(session):
    with pytest.raises(CheckpointError, match="Predict all"):
        session.where_next()
    note(session, "flat", (), Doubt(0.4, 10, 20))
    note(session, "stack", (1,), Doubt(0.9, 30, 40))
    note(session, "stack", (0,), Doubt(0.1, 5, 6))
    places = [session.where_next() for _ in range(4)]
    assert [place.value for place in places] == [0.9, 0.4, 0.1, 0.9]
    assert places[0] == Place("stack", (1,), 30, 40, 0.9)


def test_places_beside_better_ones_are_left_out(session):
    note(session, "flat", (), Doubt(0.4, 10, 20), Doubt(0.3, 30, 40), Doubt(0.2, 70, 90))
    note(session, "flat", (), Doubt(0.5, 12, 25), box=(0, 0, 50, 60))
    assert [session.where_next().value for _ in range(3)] == [0.5, 0.2, 0.5]


def test_what_is_painted_by_now_is_left_out(session):
    note(session, "flat", (), Doubt(0.4, 10, 20))
    note(session, "stack", (1,), Doubt(0.9, 30, 40))
    session.project.image("stack").regions[1, 35, 45] = 3
    assert session.where_next().image == "flat"
    session.project.image("flat").regions[10, 20] = 1
    with pytest.raises(CheckpointError):
        session.where_next()


def test_a_tile_that_was_predicted_anew_counts_as_it_is_now(session):
    note(session, "flat", (), Doubt(0.4, 10, 20))
    note(session, "flat", (), Doubt(0.2, 60, 70))
    assert [session.where_next().value for _ in range(2)] == [0.2, 0.2]
    note(session, "flat", (), Doubt(0.001, 60, 70))
    with pytest.raises(CheckpointError):
        session.where_next()


def test_what_a_forgotten_model_said_leads_nowhere(session):
    note(session, "flat", (), Doubt(0.4, 10, 20))
    session.reset_model()
    with pytest.raises(CheckpointError, match="Fine-tune"):
        session.where_next()


def test_damaged_notes_lead_nowhere(session):
    note(session, "flat", (), Doubt(0.4, 10, 20), model="other")
    path = session.project.path / "images" / "flat" / "predicted.jsonl"
    for text in (
        '[[], [0, 0, 9, 9], {"doubts": [[0.9, 1000, 2]]}]',
        '[[7], [0, 0, 9, 8], {"doubts": [[0.9, 1, 2]]}]',
        '[[], [0, 0, 9, 7], {"doubts": [[NaN, 1, 2]]}]',
        '[[], [0, 0, 9, 6], {"doubts": "x"}, {"more": 1}, 5]',
        '[[], [0, 0, 9, 5], {"doubts": [[1e999, 1, 2]]}]',
        "[[]",
    ):
        with path.open("a") as file:
            file.write("\n" + text)
    assert [session.where_next().value for _ in range(2)] == [0.4, 0.4]
    assert session.project.image("flat").predicted_with("other") >= {((), Box(0, 0, 80, 100))}

"""Whether there is anything to learn from: two regions, in pixels that differ."""

import warnings

import numpy as np
import pytest

from napari_cas.session import NewImage, Session, painted

GAPS = np.where(np.eye(300, 400) > 0, np.nan, 4.0)
SPOT = np.pad(np.full((1, 1), 3, np.uint8), ((290, 9), (390, 9)))


@pytest.fixture
def session():
    session = Session()
    session.heard = []
    session.messaged.connect(lambda message: session.heard.append(str(message)))
    yield session
    session.close()


def paint(session, name):
    """Two regions far apart, in chunks of their own."""
    regions = session.project.image(name).regions
    regions[(*(0,) * (regions.ndim - 2), slice(10, 20), slice(10, 90))] = 1
    regions[(*(0,) * (regions.ndim - 2), slice(280, 290), slice(300, 380))] = 2


@pytest.mark.parametrize(
    ("data", "axes"),
    [
        pytest.param(np.full((300, 400), 7, np.uint8), "yx", id="integers"),
        pytest.param(np.full((300, 400, 3), (255, 0, 9), np.uint8), "yxc", id="a colour"),
        pytest.param(GAPS, "yx", id="no data here and there"),
        pytest.param(np.stack([np.zeros((300, 400)), np.ones((300, 400))]), "zyx", id="a plane"),
    ],
)
def test_a_constant_image_is_said_to_be_one(session, tmp_path, data, axes):
    session.create_project(tmp_path / "p.zarr", [NewImage("flat", data, axes)])
    paint(session, "flat")
    session.heard.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.fine_tune()
    assert session.idle
    assert len(session.heard) == 1
    assert session.heard[0].startswith("Image 'flat' is constant where it is painted")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(np.where(np.arange(400) < 200, GAPS, 4.5), id="halves"),
        pytest.param(np.repeat([[3, 4]], [200, 200], 1).repeat(300, 0).astype(np.uint8), id="ids"),
        pytest.param(SPOT, id="a spot"),
    ],
)
def test_an_image_of_few_values_is_none(session, tmp_path, data):
    session.create_project(tmp_path / "p.zarr", [NewImage("few", data, "yx")])
    paint(session, "few")
    painted.check(session.project)


def test_one_image_that_shows_something_is_enough(session, tmp_path):
    flat = NewImage("flat", np.full((300, 400), 7, np.uint8), "yx")
    session.create_project(tmp_path / "p.zarr", [flat, NewImage("first", np.eye(20), "yx")])
    paint(session, "flat")
    first = session.project.image("first").regions
    first[2:4, 2:9], first[12:14, 12:19] = 1, 2
    assert painted.trainable(session.project)

"""What is predicted anew when the annotator looks at it."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cas.config import PredictConfig
from napari_cas.protocol import Box
from napari_cas.store import Project

HALVES = Box(0, 0, 40, 50), Box(0, 50, 40, 100)


@pytest.fixture
def seen(widget, qtbot, model_viewer, ramp):
    """The views of an image without data in its corner, predicted in two tiles by model "m"."""
    pixels = ramp(40, 100).astype(np.float32)
    pixels[:10, :20] = np.nan
    model_viewer.add_image(pixels, name="raster")
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    widget.session._work.checkpoint = "m"
    return widget.intents.seen


def predict(widget, *boxes):
    with Project.open(widget.session.project.path, mode="worker") as project:
        theirs = project.image("raster")
        for box in boxes:
            theirs.prediction[box.slices] = 1
        theirs.prediction[:10, :20] = 0
        theirs.flush()
        theirs.mark_predicted("m", [((), box) for box in boxes])
    widget.session.image.prediction.invalidate((), Box(0, 0, 40, 100))


def test_pixels_without_data_are_not_predicted_again_and_again(seen, widget):
    predict(widget, *HALVES)
    for box in (Box(0, 0, 40, 100), Box(0, 0, 10, 20)):
        assert not seen.is_outdated((), box)
    widget.session.config = widget.session.config.model_copy(
        update={"predict": PredictConfig(follow_edges=False)}
    )
    assert seen.is_outdated((), Box(0, 0, 40, 100))


def test_what_was_left_out_is_predicted(seen, widget):
    predict(widget, HALVES[0])
    assert not seen.is_outdated((), Box(0, 0, 40, 40))
    assert seen.is_outdated((), Box(0, 0, 40, 100))
    widget.session._work.checkpoint = "another"
    assert seen.is_outdated((), Box(0, 0, 40, 40))

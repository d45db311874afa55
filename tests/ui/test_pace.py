"""Drawing together, now and then."""

import pytest

from napari_cas.ui.pace import Pace


@pytest.fixture
def pace(qtbot):
    return Pace(interval=60_000)  # nothing comes by itself while a test runs


def test_the_first_is_drawn_at_once_and_later_ones_together_with_the_last_of_each(pace):
    drawn = []
    pace.show("bar", lambda: drawn.append("bar 1"))
    assert drawn == ["bar 1"]
    for number in (2, 3):
        pace.show("bar", lambda number=number: drawn.append(f"bar {number}"))
        pace.show("plot", lambda number=number: drawn.append(f"plot {number}"))
    assert drawn == ["bar 1"]
    pace.flush()
    assert drawn == ["bar 1", "bar 3", "plot 3"]
    pace.flush()
    assert len(drawn) == 3


def test_what_waits_is_drawn_after_the_interval(qtbot):
    pace, drawn = Pace(interval=50), []
    for number in range(3):
        pace.show("bar", lambda number=number: drawn.append(number))
    assert drawn == [0]
    qtbot.waitUntil(lambda: drawn == [0, 2])


def test_hurrying_takes_along_what_waits_and_what_the_same_turn_adds(pace, qtbot):
    drawn = []
    pace.show("bar", lambda: None)
    pace.show("status", lambda: drawn.append("status"))
    pace.hurry()
    pace.show("bar", lambda: drawn.append("bar"))
    assert drawn == ["status", "bar"]
    qtbot.wait(10)
    pace.show("bar", lambda: drawn.append("late"))
    assert drawn == ["status", "bar"]


def test_what_is_forgotten_is_never_drawn(pace):
    drawn = []
    pace.show("bar", lambda: None)
    for name in ("bar", "plot", "status"):
        pace.show(name, lambda name=name: drawn.append(name))
    pace.forget("status")
    pace.flush()
    assert drawn == ["bar", "plot"]
    pace.show("bar", lambda: drawn.append("late"))
    pace.forget()
    pace.flush()
    assert drawn == ["bar", "plot"]

from types import SimpleNamespace

import pytest

from napari_cas.store import Project
from napari_cas.ui.brushes import Brushes


@pytest.fixture
def entry(tmp_path, ramp):
    """An image of three planes; two regions are painted on the first."""
    with Project.create(tmp_path / "p.zarr") as project:
        found = project.add_image("stack", ramp(3, 20, 30), "zyx")
        found.regions[0, 2:5, 2:9] = 1
        found.regions[0, 9:12, 2:9] = 2
        yield found


def brush(label):
    return SimpleNamespace(selected_label=label)


def test_where_nothing_was_chosen_it_joins_no_region(entry):
    brushes = Brushes()
    assert [brushes.recall(entry, (z,)) for z in range(3)] == [3, 1, 1]


def test_what_was_chosen_on_a_plane_is_held_there_only(entry):
    brushes = Brushes()
    brushes.hold(entry, (0,), brush(2))
    brushes.hold(entry, (1,), brush(7))
    assert [brushes.recall(entry, (z,)) for z in range(3)] == [2, 7, 1]
    brushes.hold(entry, (0,), brush(0))  # the eraser
    brushes.hold(entry, (1,), None)
    assert [brushes.recall(entry, (z,)) for z in range(3)] == [2, 7, 1]
    brushes.forget()
    assert brushes.recall(entry, (0,)) == 3

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_cas.store import Project
from napari_cas.store.export import export
from napari_cas.store.files import read_group
from napari_cas.store.shown import Shown, keep_shown, shown_channels

RED = Shown("FF8000", (10.0, 90.0))
TABLE = Shown("FDE724", (0.0, 300.0), "viridis")


@pytest.fixture
def channels(tmp_path, rng):
    with Project.create(tmp_path / "p.zarr") as project:
        data = rng.integers(0, 200, (2, 60, 70)).astype(np.uint16)
        project.add_image("cells", data, "cyx", channel_names=("one", "two"))
        yield project


def test_what_is_kept_is_there_after_reopening_and_in_the_export(channels, tmp_path):
    before = channels.image("cells").intensity
    keep_shown(channels.image("cells"), [RED, TABLE])
    channels.close()
    with Project.open(channels.path, "r") as again:
        entry = again.image("cells")
        assert entry.shown == (RED, TABLE)
        assert entry.intensity == before  # the network's scale is not the annotator's
        assert entry.channel_names == ("one", "two")
        export(again, tmp_path / "out.zarr")
    found = read_group(tmp_path / "out.zarr")["ome"]["omero"]["channels"]
    assert [c["color"] for c in found] == ["FF8000", "FDE724"]
    assert [(c["window"]["start"], c["window"]["end"]) for c in found] == [(10, 90), (0, 300)]
    assert [c["label"] for c in found] == ["one", "two"]


def test_an_image_elsewhere_keeps_its_own_and_the_project_s_comes_first(tmp_path, write_v04, rng):
    pixels = rng.integers(0, 99, (2, 64, 64)).astype(np.uint8)
    path = write_v04(tmp_path / "theirs.zarr", pixels, "cyx")
    attributes = json.loads((path / ".zattrs").read_text())
    window = {"min": 0, "max": 255, "start": 5, "end": 50}
    attributes["omero"] = {
        "channels": [{"color": c, "window": window} for c in ("ff0000", "00FF00")]
    }
    (path / ".zattrs").write_text(json.dumps(attributes))
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_reference("theirs", path)
        assert entry.shown == (Shown("FF0000", (5, 50)), Shown("00FF00", (5, 50)))
        keep_shown(entry, [RED, TABLE])
    assert json.loads((path / ".zattrs").read_text()) == attributes
    with Project.open(tmp_path / "p.zarr", "r") as again:
        assert again.image("theirs").shown == (RED, TABLE)
        export(again, tmp_path / "out.zarr")
    found = read_group(tmp_path / "out.zarr")["ome"]["omero"]["channels"]
    assert found[0]["color"] == "FF8000"
    assert found[0]["window"]["end"] == 90


def test_what_cannot_be_written_is_left_alone(channels):
    channels.close()
    with Project.open(channels.path, "r") as again:
        before = again.image("cells").shown
        keep_shown(again.image("cells"), [RED, TABLE])
        assert again.image("cells").shown == before
    with Project.open(channels.path, "r") as again:
        assert again.image("cells").shown == before


def channel(**said):
    return {"color": "0000FF", "window": {"min": 0, "max": 9, "start": 1, "end": 3}} | said


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, Shown("0000FF", (1, 3))),
        ({"color": "#00ff00"}, Shown("00FF00", (1, 3))),
        ({"color": 255}, Shown(None, (1, 3))),
        ({"color": "red; DROP"}, Shown(None, (1, 3))),
        ({"window": None}, Shown("0000FF")),
        ({"window": {"min": 0, "max": 9, "start": 3, "end": 3}}, Shown("0000FF")),
        ({"window": {"min": 0, "max": 9, "start": 0, "end": float("inf")}}, Shown("0000FF")),
        ({"window": {"min": 0, "max": 65535, "start": 0, "end": 65535}}, Shown("0000FF")),
        ({"window": {"start": "a"}}, Shown("0000FF")),
        ({"lut": "magma"}, Shown("0000FF", (1, 3), "magma")),
        ({"lut": ["../x"]}, Shown("0000FF", (1, 3))),
    ],
)
def test_of_other_programs_blocks_what_is_of_use_is_taken(said, found):
    assert shown_channels({"channels": [channel(**said)]}, 1) == (found,)


def test_a_channel_may_be_out_of_sight_but_not_all(channels):
    block = {"channels": [channel(active=True), channel(active=False), channel(active=0)]}
    assert [shown.hidden for shown in shown_channels(block, 3)] == [False, True, False]
    assert not shown_channels({"channels": [channel(active=False)]}, 1)[0].hidden
    entry = channels.image("cells")
    keep_shown(entry, [RED, replace(TABLE, hidden=True)])
    channels.close()
    with Project.open(channels.path) as again:
        assert [shown.hidden for shown in again.image("cells").shown] == [False, True]
        keep_shown(again.image("cells"), [replace(kept, hidden=True) for kept in (RED, TABLE)])
        assert again.image("cells").shown == (RED, TABLE)


@pytest.mark.parametrize("block", [None, [], "x", {}, {"channels": None}, {"channels": [7, None]}])
def test_blocks_that_say_nothing_are_no_error(block):
    assert shown_channels(block, 2) == (Shown(), Shown())


def test_one_colour_for_all_channels_is_nobody_s_choice():
    found = shown_channels({"channels": [channel(), channel()]}, 3)
    assert [shown.color for shown in found] == ["0000FF", "0000FF", None]
    found = shown_channels({"channels": [channel(), channel()]}, 2)
    assert [shown.color for shown in found] == [None, None]


@pytest.mark.parametrize("window", [(0.0, 65535.0), (-5.0, 70000.0)])
def test_a_window_of_all_values_that_was_chosen_is_kept(channels, window):
    entry = channels.image("cells")
    keep_shown(entry, [Shown("FF0000", window), RED])
    channels.close()
    with Project.open(channels.path, "r") as again:
        assert again.image("cells").shown[0].window == window


def test_a_damaged_image_is_told_and_not_made_anew(channels):
    from napari_cas.errors import ProjectFormatError

    entry = channels.image("cells")
    (entry.folder / "zarr.json").unlink()
    with pytest.raises(ProjectFormatError):
        keep_shown(entry, [RED, TABLE])
    assert not (entry.folder / "zarr.json").exists()

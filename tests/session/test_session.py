"""The session on a real project, without a worker: annotating, correcting, remembering."""

import os

import numpy as np
import pytest

from napari_cas.config import Config, ModelSpec
from napari_cas.errors import (
    CheckpointError,
    ImageError,
    ProjectError,
    RegionError,
    StorageError,
)
from napari_cas.protocol import Box, Tile
from napari_cas.session import Message, NewImage, Session, State
from napari_cas.store import Project
from napari_cas.store.models import export_model


def picture(shape=(80, 100), seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


class Heard:
    """Everything a session says."""

    def __init__(self, session):
        self.messages, self.states, self.regions, self.images = [], [], [], []
        session.messaged.connect(self.messages.append)
        session.state_changed.connect(self.states.append)
        session.regions_changed.connect(lambda: self.regions.append(1))
        session.image_changed.connect(self.images.append)

    @property
    def texts(self):
        return [str(message) for message in self.messages]


@pytest.fixture
def session():
    session = Session()
    session.heard = Heard(session)
    yield session
    session.close()


@pytest.fixture
def opened(session, tmp_path):
    session.create_project(tmp_path / "p.zarr", [NewImage("cells", picture(), "yx")])
    return session


def predict_by_hand(project, name, plane, labels):
    """Write a prediction as the worker does: through a project opened as the worker."""
    with Project.open(project, mode="worker") as writing:
        entry = writing.image(name)
        entry.prediction[plane] = labels
        entry.prediction.flush()


def test_a_project_that_is_open_is_not_opened_again(opened, tmp_path):
    before = opened.project
    opened.open_project(os.path.relpath(tmp_path / "p.zarr"))
    assert opened.project is before
    assert opened.writable
    assert opened.heard.texts == ["This project is open already."]


def test_an_image_is_removed_and_the_next_one_shown(opened, tmp_path):
    opened.add_images([NewImage(name, picture(seed=k), "yx") for k, name in enumerate("ab")])
    opened.select_image("a")
    opened.image.regions[3:5, 3:5] = 1
    opened.remove_image("a")
    assert (opened.images, opened.image.name) == (("cells", "b"), "b")
    opened.remove_image("b")
    assert (opened.images, opened.image.name) == (("cells",), "cells")
    with pytest.raises(ProjectError, match="only image"):
        opened.remove_image("cells")
    with pytest.raises(ProjectError, match="No image 'a'"):
        opened.remove_image("a")
    opened.close_project()
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.images == ("cells",)


def test_an_image_that_went_although_the_list_cannot_be_written_is_told_of(opened, monkeypatch):
    opened.add_images([NewImage("b", picture(seed=1), "yx")])
    told = []
    opened.images_changed.connect(told.append)

    def full(*_, **__):
        raise StorageError("The disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("napari_cas.store.root.write_group", full)
        with pytest.raises(StorageError):
            opened.remove_image("b")
    assert told == [("cells",)] == [opened.images]


def test_it_is_told_which_images_are_painted(opened):
    opened.add_images([NewImage("a", picture(), "yx")])
    opened.select_image("a")
    opened.image.regions[3:5, 3:5] = 1
    opened.image.regions.flush()
    assert [opened.stage(name).painted for name in ("cells", "a")] == [False, True]
    assert not opened.stage("a").predicted


def test_images_that_one_network_cannot_learn_are_refused(opened):
    coffee = NewImage("coffee", picture((80, 100, 3)), "yxc")
    with pytest.raises(ImageError, match=r"another number of channels than 'cells'.*expected 1"):
        opened.add_images([coffee])
    assert opened.images == opened.project.images == ("cells",)


def test_nothing_is_open_at_first(session):
    assert session.state is State.NO_PROJECT
    assert (session.project, session.image, session.images) == (None, None, ())
    assert session.idle
    with pytest.raises(ProjectError, match="No image is selected"):
        session.new_region()


def test_creating_selects_the_first_image_and_looks_at_it(opened):
    assert opened.state is State.READY
    assert opened.images == ("cells",)
    assert opened.image.name == "cells"
    assert opened.view == Tile("cells", (), Box(0, 0, 80, 100))
    assert opened.writable
    assert [entry.name for entry in opened.heard.images] == ["cells"]


def test_a_stroke_is_on_disk_when_the_brush_lifts(opened, tmp_path):
    opened.image.regions[3:9, 4:20] = opened.new_region()
    opened.stroke_finished()
    with Project.open(tmp_path / "p.zarr", mode="r") as other:
        assert (np.asarray(other.image("cells").regions[3:9, 4:20]) == 1).all()
    assert opened.new_region() == 2


def test_reopening_restores_image_settings_and_strokes(opened, tmp_path):
    opened.add_images([NewImage("more", picture((64, 64)), "yx")])
    opened.select_image("more")
    opened.config = Config(model=ModelSpec(channels=5))
    opened.image.regions[1:5, 1:5] = 7
    opened.close_project()
    assert opened.state is State.NO_PROJECT
    again = Session()
    again.open_project(tmp_path / "p.zarr")
    assert again.image.name == "more"
    assert again.config.model.channels == 5
    assert again.images == ("cells", "more")
    assert int(again.image.regions[2, 2]) == 7
    again.close()


def test_live_is_as_it_was_left_in_each_project_and_opening_trains_nothing(session, tmp_path):
    first, second = tmp_path / "first.zarr", tmp_path / "second.zarr"
    session.create_project(first, [NewImage("cells", picture(), "yx")])
    session.image.regions[1:9, 1:9] = 1
    session.image.regions[20:29, 1:9] = 2
    session.flush()
    session.live = True
    session.create_project(second, [NewImage("cells", picture(), "yx")])
    assert session.live  # a new project says nothing else
    session.live = False
    again, heard = Session(), []
    again.live_changed.connect(heard.append)
    session.close_project()
    again.open_project(first)
    assert again.live
    assert again.idle
    again.open_project(second)
    assert not again.live
    assert heard == [True, False]
    again.close()


def test_a_second_session_reads_only_and_says_so(opened, tmp_path):
    other = Session()
    heard = Heard(other)
    other.open_project(tmp_path / "p.zarr")
    assert not other.writable
    assert "read-only" in heard.texts[0]
    other.fine_tune()
    assert "read-only" in heard.texts[-1]
    with pytest.raises(ProjectError, match="read-only"):
        other.add_images([NewImage("x", picture(), "yx")])
    other.close()
    assert opened.writable


def test_names_that_are_taken_or_unsafe_get_another(opened):
    names = opened.add_images(
        [NewImage("cells", picture(), "yx"), NewImage("../x", picture(), "yx")]
    )
    assert names == ("cells-2", "x")
    assert any("'cells-2'" in text for text in opened.heard.texts)


LONG = "2024-05-11_HeLa-H2B-GFP_plate 3_well B07_63x-oil_" + "µ" * 40


def test_long_names_that_begin_alike_are_shortened_before_their_number(session, tmp_path):
    new = [NewImage(f"{LONG}{k:03}", picture(seed=k), "yx") for k in range(12)]
    session.create_project(tmp_path / "p.zarr", new)
    assert len({*session.images}) == 12
    assert session.images[1].endswith("-2")
    assert session.images[11].endswith("-12")
    assert all(name.startswith(LONG[:60]) for name in session.images)
    said = [text for text in session.heard.texts if "is called" in text]
    assert len(said) == 12


def test_a_damaged_image_keeps_its_name(opened, tmp_path):
    opened.add_images([NewImage("b", picture(seed=1), "yx")])
    opened.close_project()
    (tmp_path / "p.zarr" / "images" / "cells" / "zarr.json").write_text("{")
    opened.open_project(tmp_path / "p.zarr")
    assert opened.add_images([NewImage("Cells", picture(), "yx")]) == ("Cells-2",)
    assert opened.images == ("b", "Cells-2")
    assert "cells" in opened.project.damaged


def test_images_before_one_that_is_refused_are_told_of(opened):
    told = []
    opened.images_changed.connect(told.append)
    good = NewImage("good", picture(seed=1), "yx")
    bad = NewImage("bad", np.full((8, 8), np.nan, np.float32), "yx")
    with pytest.raises(ImageError, match="bad"):
        opened.add_images([good, bad])
    assert told == [("cells", "good")]
    with pytest.raises(ImageError):
        opened.add_images([bad])
    assert told == [("cells", "good")]


@pytest.mark.parametrize(
    ("data", "axes", "match"),
    [
        (np.full((20, 20), np.nan), "yx", "no data"),
        (np.where(np.eye(20), np.inf, 1.0), "yx", "infinite"),
        (picture((4, 20, 20)), "yx", "axes|letters"),
        (None, "yx", "no pixels"),
    ],
)
def test_images_that_cannot_be_used_are_refused_with_a_reason(opened, data, axes, match):
    with pytest.raises(Exception, match=match) as caught:
        opened.add_images([NewImage("bad", data, axes)])
    assert str(caught.value)
    assert opened.images == ("cells",)


def test_pixels_without_data_are_said(opened):
    picture_with_gaps = np.random.default_rng(0).random((20, 20))
    picture_with_gaps[:5] = np.nan
    opened.add_images([NewImage("raster", picture_with_gaps, "yx")])
    assert any("25.0 % of the values of image 'raster'" in text for text in opened.heard.texts)


def test_nothing_painted_is_a_message_that_says_what_to_do(opened):
    opened.fine_tune()
    (message,) = opened.heard.messages
    assert "Nothing is painted" in message.text
    assert "Paint" in message.action
    assert opened.state is State.READY


def test_one_region_only_is_a_message_too(opened):
    opened.image.regions[0:5, 0:5] = 1
    opened.fine_tune()
    (message,) = opened.heard.messages
    assert "takes two" in message.text
    assert opened.idle


def test_two_regions_on_different_planes_are_still_one_each(session, tmp_path):
    session.create_project(tmp_path / "p", [NewImage("stack", picture((3, 40, 40)), "zyx")])
    session.image.regions[0, :5, :5] = 1
    session.image.regions[2, :5, :5] = 2
    session.fine_tune()
    assert "takes two" in session.heard.messages[-1].text


def test_predicting_before_learning_says_so(opened):
    opened.predict_view()
    opened.predict_all()
    assert [m.text for m in opened.heard.messages] == ["Nothing has been learnt yet."] * 2
    with pytest.raises(CheckpointError, match="Nothing has been learnt"):
        opened.save_model("nowhere")


def test_the_view_is_clipped_and_a_large_one_cut_around_its_centre(session, tmp_path):
    session.create_project(tmp_path / "p", [NewImage("wide", picture((300, 4000)), "yx")])
    assert session.view.box == Box(0, 1488, 300, 2512)
    session.set_view((), Box(-50, -50, 100, 200))
    assert session.view.box == Box(0, 0, 100, 200)
    session.set_view((), Box(400, 0, 500, 100))  # beside the image: nothing to look at
    assert session.view.box == Box(0, 0, 100, 200)


def test_accepting_a_segment_makes_a_region_and_spares_strokes(opened, tmp_path):
    labels = np.zeros((80, 100), np.uint8)
    labels[:, :50], labels[:, 50:] = 1, 2
    predict_by_hand(tmp_path / "p.zarr", "cells", (), labels)
    opened.image.regions[10:20, 10:20] = 3  # a stroke where 1 is predicted
    opened.image.regions[0:5, 60:65] = 9  # one where 2 is
    region = opened.accept_as_region(1)
    assert region == 3  # the painted region that carries this label
    regions = np.asarray(opened.image.regions[...])
    assert (regions[:, :50] == 3).all()
    assert (regions[0:5, 60:65] == 9).all()
    assert (regions[5:, 50:] == 0).all()
    assert opened.heard.regions == [1]
    assert not opened.image.regions.dirty


def test_accepting_at_a_place_takes_the_connected_piece_only(opened, tmp_path):
    labels = np.ones((80, 100), np.uint8)
    labels[10:20, 10:20] = labels[40:50, 40:60] = 2
    predict_by_hand(tmp_path / "p.zarr", "cells", (), labels)
    region = opened.accept_as_region(2, (45, 50))
    assert region == 1
    regions = np.asarray(opened.image.regions[...])
    assert (regions[40:50, 40:60] == 1).all()
    assert np.count_nonzero(regions) == 200
    with pytest.raises(RegionError, match="no segment"):
        opened.accept_as_region(2, (0, 0))
    with pytest.raises(RegionError, match="no segment"):
        opened.accept_as_region(5)


def test_a_correction_teaches_and_overrides_strokes(opened, tmp_path):
    labels = np.ones((80, 100), np.uint8)
    labels[:, 50:] = 2
    predict_by_hand(tmp_path / "p.zarr", "cells", (), labels)
    opened.image.regions[10:20, 10:20] = 4
    opened.image.regions[10:20, 60:70] = 5
    opened.image.prediction_view[12:14, 10:30] = 2
    opened.corrected((), Box(12, 10, 14, 30))
    regions = np.asarray(opened.image.regions[...])
    assert (regions[12:14, 10:30] == 5).all()  # label 2 is region 5, over the stroke as well
    assert (regions[10:12, 10:20] == 4).all()
    assert int(opened.image.prediction_view[13, 25]) == 2


def test_a_correction_to_a_label_without_a_region_makes_one(opened, tmp_path):
    predict_by_hand(tmp_path / "p.zarr", "cells", (), np.ones((80, 100), np.uint8))
    opened.image.prediction_view[0:3, 0:3] = 6
    opened.corrected((), Box(0, 0, 3, 3))
    assert (np.asarray(opened.image.regions[0:3, 0:3]) == 1).all()


def test_erasing_a_prediction_teaches_nothing(opened, tmp_path):
    predict_by_hand(tmp_path / "p.zarr", "cells", (), np.ones((80, 100), np.uint8))
    opened.image.prediction_view[0:3, 0:3] = 0
    opened.corrected((), Box(0, 0, 3, 3))
    assert not np.asarray(opened.image.regions[...]).any()
    assert int(opened.image.prediction_view[1, 1]) == 0
    assert not opened.image.corrections.dirty


def test_resetting_keeps_strokes_and_drops_corrections(opened, tmp_path):
    predict_by_hand(tmp_path / "p.zarr", "cells", (), np.ones((80, 100), np.uint8))
    opened.image.regions[5:9, 5:9] = 2
    opened.image.prediction_view[0:3, 0:3] = 6
    opened.corrected((), Box(0, 0, 3, 3))
    opened.reset_model()
    assert int(opened.image.prediction_view[1, 1]) == 1
    assert int(opened.image.regions[6, 6]) == 2
    assert int(opened.image.regions[1, 1]) > 0
    assert opened.checkpoint is None


def test_kinds_of_one_name_are_one_object_and_one_region(opened, tmp_path):
    labels = np.ones((80, 100), np.uint8)
    labels[20:40, 20:40], labels[20:40, 40:60] = 2, 3
    predict_by_hand(tmp_path / "p.zarr", "cells", (), labels)
    said = []
    opened.names_changed.connect(said.append)
    assert opened.split_into_objects().count == 3
    opened.name_kind(3, "leaf")
    opened.name_kind(2, "leaf")
    opened.name_kind(2, " leaf ")
    assert said == [{3: "leaf"}, {2: "leaf", 3: "leaf"}]
    assert opened.split_into_objects().count == 2
    assert opened.split_into_objects(label=3).count == 1
    region = opened.accept_as_region(3, (25, 25))
    assert np.count_nonzero(np.asarray(opened.image.regions[...]) == region) == 800


def test_a_correction_painted_under_another_name_teaches_what_is_shown_now(opened, tmp_path):
    predict_by_hand(tmp_path / "p.zarr", "cells", (), np.ones((80, 100), np.uint8))
    opened.image.regions[2:6, 2:6] = 5
    opened.image.prediction_view[40:44, 40:44] = 3
    opened.name_kind(1, "same")
    opened.name_kind(3, "same")
    opened.corrected((), Box(40, 40, 44, 44))
    assert np.unique(np.asarray(opened.image.regions[40:44, 40:44])).tolist() == [5]


def test_names_are_forgotten_with_the_model_and_come_back_with_the_project(opened, tmp_path):
    opened.name_kind(1, "sky")
    opened.close_project()
    assert opened.names == {}
    opened.open_project(tmp_path / "p.zarr")
    assert opened.names == {1: "sky"}
    opened.reset_model()
    assert opened.names == {}


def test_names_go_with_a_saved_model(opened, tmp_path):
    record = {"config": Config().model_dump(mode="json"), "input": {"channels": 1}}
    opened.project.save_model("m", {"a": np.ones(3, np.float32)}, record)
    opened._work.use("m")
    opened.name_kind(4, "sky")
    opened.save_model(tmp_path / "saved")
    opened.name_kind(4, "water")
    opened.load_model(tmp_path / "saved")
    assert opened.names == {4: "sky"}
    assert opened.checkpoint == "m" or opened.checkpoint.startswith("saved")
    opened.remembers = False
    opened.name_kind(4, "for now")
    opened.close_project()
    opened.open_project(tmp_path / "p.zarr")
    assert opened.names == {4: "sky"}


NAMES = {"long": "m" * 200, "of long characters": "µ" * 90, "reserved": "nul", "alike": "M"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such folders")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_saved_model_is_loaded_whatever_its_folder_is_called(opened, tmp_path, name):
    record = {"config": Config().model_dump(mode="json"), "input": {"channels": 1}}
    opened.project.save_model("m", {"a": np.ones(3, np.float32)}, record)
    export_model(tmp_path / name, {"a": np.zeros(3, np.float32)}, record)
    opened.load_model(tmp_path / name)
    assert opened.project.load_model(opened.checkpoint)[0]["a"].tolist() == [0, 0, 0]
    export_model(tmp_path / name, {"a": np.full(3, 2, np.float32)}, record)
    opened.load_model(tmp_path / name)
    assert len({model.casefold() for model in opened.project.models}) == 3
    assert opened.project.load_model("m")[0]["a"].tolist() == [1, 1, 1]


def test_corrections_of_another_model_are_strokes_only_after_loading_one(opened, tmp_path):
    record = {"config": Config().model_dump(mode="json"), "input": {"channels": 1}}
    opened.project.save_model("m", {"a": np.ones(3, np.float32)}, record)
    opened._work.use("m")
    opened.save_model(tmp_path / "saved")
    predict_by_hand(tmp_path / "p.zarr", "cells", (), np.ones((80, 100), np.uint8))
    opened.image.prediction_view[40:44, 40:44] = 3
    opened.corrected((), Box(40, 40, 44, 44))
    opened._work.use("another")
    opened.remembers = False  # as where the command line predicts with a model once
    opened.load_model(tmp_path / "saved")
    assert opened.image.corrections.ids(()) == {4: 16}
    opened.remembers = True
    opened.load_model(tmp_path / "saved")  # the model in use: its labels mean what they meant
    assert opened.image.corrections.ids(()) == {4: 16}
    opened._work.use("another")
    opened.load_model(tmp_path / "saved")
    assert opened.image.corrections.ids(()) == {}
    assert not opened.image.corrections.dirty
    assert opened.image.regions.ids(()) == {1: 16}


def test_names_of_a_model_that_is_gone_name_no_kind_of_the_next(opened, monkeypatch):
    asked = []
    monkeypatch.setattr(opened._work, "train", asked.append)
    opened.image.regions[5:9, 5:9] = 1
    opened.image.regions[25:29, 5:9] = 2
    opened.name_kind(1, "sky")
    opened._work.checkpoint = "m"
    opened.fine_tune()
    assert opened.names == {1: "sky"}
    opened._work.checkpoint = None
    opened.fine_tune()
    assert opened.names == {}
    assert len(asked) == 2


def test_names_that_cannot_be_saved_leave_model_and_settings_as_they_were(
    opened, tmp_path, monkeypatch
):
    model = ModelSpec(channels=9)
    record = {"config": {"model": model.model_dump(mode="json")}, "input": {"channels": 1}}
    opened.project.save_model("m", {"a": np.ones(3, np.float32)}, record)
    opened._work.use("m")
    opened.name_kind(4, "sky")
    opened.save_model(tmp_path / "saved")
    opened._work.use("another")
    opened.name_kind(4, "water")
    before = opened.config

    def refuse(*_):
        raise StorageError("No room")

    monkeypatch.setattr(type(opened.project), "_write_own", refuse)
    with pytest.raises(StorageError):
        opened.load_model(tmp_path / "saved")
    assert (opened.config, opened.checkpoint, opened.names) == (before, "another", {4: "water"})


def test_splitting_into_objects(opened, tmp_path):
    labels = np.ones((80, 100), np.uint8)
    labels[10:20, 10:20] = labels[40:50, 40:60] = 2
    labels[70:72, 70:72] = 2  # too small
    predict_by_hand(tmp_path / "p.zarr", "cells", (), labels)
    objects = opened.split_into_objects(min_size=20, label=2)
    assert objects.labels.dtype == np.int32
    assert sorted(np.bincount(objects.labels.ravel())[1:]) == [100, 200]
    assert objects.count == 2
    assert opened.split_into_objects(min_size=1).count == 4


@pytest.fixture
def refusing(opened, tmp_path):
    """Paint what cannot be saved, and return how to let the disk take it.

    A directory in a chunk's place makes the system refuse the write, as a full disk would.
    """
    folder = tmp_path / "p.zarr" / "images" / "cells" / "labels" / "regions"
    opened.image.regions[0:5, 0:5] = 1
    opened.stroke_finished()
    (chunk,) = [p for p in folder.rglob("*") if p.is_file() and p.name == "0"]
    chunk.unlink()
    chunk.mkdir()
    (chunk / "in the way").touch()
    opened.image.regions[0:5, 0:5] = 2
    opened.stroke_finished()

    def give_way():
        (chunk / "in the way").unlink()
        chunk.rmdir()

    return give_way


def test_a_disk_that_refuses_keeps_the_stroke_and_saves_it_later(opened, refusing):
    assert opened.heard.messages[-1].level == "error"
    assert opened.image.regions.dirty
    assert int(opened.image.regions[1, 1]) == 2
    refusing()
    assert opened.run_until_idle(20)
    assert not opened.image.regions.dirty
    assert "saved again" in opened.heard.texts[-1]


def test_a_project_that_cannot_be_closed_goes_on_trying_to_save(opened, refusing):
    with pytest.raises(StorageError):
        opened.close_project()
    refusing()
    assert opened.run_until_idle(20)
    assert not opened.image.regions.dirty
    opened.close_project()
    assert opened.project is None


def test_what_cannot_be_gone_to_is_free_for_another_try(opened, refusing, tmp_path):
    new = [NewImage("a", picture(), "yx")]
    with Project.create(tmp_path / "there.zarr") as there:
        there.add_image("a", picture(), "yx")
    with pytest.raises(StorageError):
        opened.open_project(tmp_path / "there.zarr")
    with pytest.raises(StorageError):
        opened.create_project(tmp_path / "new.zarr", new)
    assert opened.project.path.name == "p.zarr"
    assert not (tmp_path / "new.zarr").exists()
    refusing()
    opened.open_project(tmp_path / "there.zarr")
    assert opened.writable
    opened.create_project(tmp_path / "new.zarr", new)
    assert opened.images == ("a",)


def test_nothing_stays_of_a_project_whose_images_are_refused(session, tmp_path):
    good = NewImage("good", picture(), "yx")
    bad = NewImage("bad", np.full((8, 8), np.nan, np.float32), "yx")
    with pytest.raises(ImageError, match="bad"):
        session.create_project(tmp_path / "p.zarr", [good, bad])
    assert not (tmp_path / "p.zarr").exists()
    session.create_project(tmp_path / "p.zarr", [good])
    assert session.images == ("good",)


def test_strokes_that_are_not_on_disk_are_not_learnt_from(opened, refusing):
    """The worker would say of what it finds there that there is nothing to learn from."""
    opened.image.regions[20:25, 20:25] = 3
    opened.fine_tune()
    assert opened.state is State.READY
    assert "Could not write" in opened.heard.texts[-1]
    refusing()


def test_messages_of_errors_carry_what_to_do():
    message = Message.of(RegionError("Odd", expected="this", got="that", todo="Do so."))
    assert message.text == "Odd: expected this, got that."
    assert message.action == "Do so."
    assert Message.of(ValueError("x")).text == "ValueError: x"


@pytest.mark.skipif(os.name == "nt", reason="directories are always writable on Windows")
def test_a_missing_project_is_an_error_and_leaves_the_session_as_it_was(opened, tmp_path):
    with pytest.raises(ProjectError):
        opened.open_project(tmp_path / "nothing.zarr")
    assert opened.image.name == "cells"

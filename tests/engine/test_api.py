import json

import numpy as np
import pytest
import torch
import zarr

import napari_cas
import napari_cas.engine.trainer
from napari_cas.config import Config, FitConfig, ModelSpec, PredictConfig
from napari_cas.engine.api import Model, fine_tune, load, predict
from napari_cas.errors import (
    CASError,
    CheckpointError,
    ConfigError,
    ImageError,
    InputError,
    RegionError,
)

from .conftest import agreement, strokes, two_areas

IMAGE, TRUTH = two_areas(64, 96)
PAINTED = strokes(TRUTH)
ONCE = Config(model=ModelSpec(channels=4), fit=FitConfig(max_rounds=1))
CHEAP = Config(model=ModelSpec(channels=4, weights="none"), fit=FitConfig(max_rounds=1))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Shorten rounds: what is asked here does not depend on their length."""
    train = napari_cas.engine.trainer.Trainer.train
    monkeypatch.setattr(
        napari_cas.engine.trainer.Trainer, "train", lambda self, sources: train(self, sources, 5)
    )


def test_images_may_come_from_a_generator():
    labels, _ = predict(fine_tune((i for i in [IMAGE]), iter([PAINTED]), CHEAP), IMAGE)
    assert labels.shape == TRUTH.shape


@pytest.fixture(scope="module")
def model():
    return fine_tune([IMAGE], [PAINTED], CHEAP)


def five_channels():
    rng = np.random.default_rng(1)
    return np.concatenate([IMAGE, rng.integers(0, 255, (64, 96, 2))], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(IMAGE[..., 0], id="(Y, X)"),
        pytest.param(IMAGE[..., :1], id="one channel"),
        pytest.param(IMAGE[..., :2], id="two channels"),
        pytest.param(IMAGE, id="RGB"),
        pytest.param(five_channels(), id="five channels"),
        pytest.param(IMAGE.astype(np.uint16) * 200 + 3000, id="uint16"),
        pytest.param(IMAGE.astype(np.int32) - 100_000, id="negative integers"),
        pytest.param(IMAGE / 255, id="float64 from 0 to 1"),
        pytest.param((IMAGE * 1e-6).astype(np.float32), id="tiny float32"),
        pytest.param(IMAGE.astype(np.float16), id="float16"),
        pytest.param(IMAGE.tolist(), id="nested lists"),
        pytest.param(IMAGE[::-1].copy()[::-1], id="a view that runs backwards"),
        pytest.param(IMAGE.astype(">u2"), id="big-endian"),
    ],
)
def test_every_kind_of_image_is_learnt_and_segmented(image):
    taught = fine_tune([image], [PAINTED], ONCE)
    labels, probabilities = predict(taught, image)
    assert agreement(labels, TRUTH) > 0.9
    assert labels.dtype == np.uint8
    assert probabilities.shape == (4, 64, 96)
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)


def test_images_of_different_sizes_are_taught_together():
    sizes = [(64, 96), (40, 130), (101, 57)]
    images, truths = zip(*(two_areas(*size, seed=i) for i, size in enumerate(sizes)), strict=True)
    ids = [(1, 2), (2, 1), (9, 4)]
    painted = [strokes(truth, pair) for truth, pair in zip(truths, ids, strict=True)]
    taught = fine_tune(images, painted, ONCE)
    names = set()
    for image, truth in zip(images, truths, strict=True):
        labels = taught.predict(image).labels
        assert labels.shape == truth.shape
        assert agreement(labels, truth) > 0.9
        names.add(tuple(np.bincount(labels[truth == t]).argmax() for t in (1, 2)))
    # What looks alike has one label on all of them, whatever the ids were.
    assert len(names) == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.uint64])
def test_regions_of_any_integer_type(dtype):
    two = np.where(PAINTED == 2, 0, PAINTED), PAINTED
    if dtype is bool:
        with pytest.raises(RegionError, match="Only one region"):
            fine_tune([IMAGE], [two[0].astype(bool)], CHEAP)
    else:
        assert fine_tune([IMAGE], [two[1].astype(dtype)], CHEAP).channels == 4


def test_its_arguments_are_left_alone():
    image, painted = IMAGE.copy(), PAINTED.copy()
    image.flags.writeable = painted.flags.writeable = False
    predict(fine_tune([image], [painted], CHEAP), image)
    assert np.array_equal(image, IMAGE)


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    one, two, other = (
        fine_tune([IMAGE], [PAINTED], CHEAP.model_copy(update={"seed": seed})).predict(IMAGE)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(one.probabilities, two.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)


def test_rounds_end_at_the_limit_and_are_told():
    heard = []
    config = CHEAP.model_copy(update={"fit": FitConfig(max_rounds=3)})
    fine_tune([IMAGE], [PAINTED], config, progress=lambda *said: heard.append(said))
    assert [(done, most) for done, most, _ in heard] == [(1, 3), (2, 3), (3, 3)]
    assert [result.losses[-1].step for *_, result in heard] == [5, 10, 15]


def test_images_are_called_by_their_place_in_the_list():
    gappy, painted = IMAGE.astype(np.float32), PAINTED.copy()
    gappy[56:], painted[60:] = np.nan, 7
    painted[16:32:2][painted[16:32:2] == 1] = 5  # looks like region 1
    heard = []
    fine_tune(
        [IMAGE, gappy], [PAINTED, painted], ONCE, progress=lambda *said: heard.append(said[2])
    )
    assert heard[0].warnings[0].startswith("Region 7 of images[1] is painted only where")
    assert [(a.image, a.ids) for a in heard[0].alike] == [("images[1]", (1, 5))]
    nothing = np.where(painted == 7, painted, 0)
    with pytest.raises(RegionError, match=r"Region 7 of images\[0\] is painted only where"):
        fine_tune([gappy], [nothing], CHEAP)


def _with(array, value):
    array = array.astype(np.float64)
    array[3, 4] = value
    return array


@pytest.mark.parametrize(
    ("images", "regions", "error", "words"),
    [
        pytest.param([], [], RegionError, "Nothing is painted", id="no images"),
        pytest.param([IMAGE], [PAINTED * 0], RegionError, "Nothing is painted", id="no paint"),
        pytest.param([IMAGE], [PAINTED == 1], RegionError, "Only one region", id="one region"),
        pytest.param(
            [IMAGE, IMAGE], [PAINTED == 1] * 2, RegionError, "no two on one plane", id="one each"
        ),
        pytest.param([IMAGE], [], InputError, "do not pair up", id="no regions"),
        pytest.param([IMAGE], [PAINTED] * 2, InputError, "do not pair up", id="too many regions"),
        pytest.param(
            [IMAGE],
            [PAINTED[1:]],
            RegionError,
            r"regions\[0\] does not fit.*\(63, 96\)",
            id="shape",
        ),
        pytest.param([IMAGE], [PAINTED[None]], RegionError, "does not fit", id="regions in 3-D"),
        pytest.param(
            [IMAGE], [PAINTED / 1], RegionError, r"float64.*astype\(int\)", id="float regions"
        ),
        pytest.param([IMAGE], [-PAINTED], RegionError, "negative ids.*-2", id="negative ids"),
        pytest.param(
            [IMAGE, _with(IMAGE, np.inf)],
            [PAINTED] * 2,
            ImageError,
            r"images\[1\] is not finite.*3 that are infinite",
            id="infinite",
        ),
        pytest.param([IMAGE * np.nan], [PAINTED], ImageError, "no data", id="NaN alone"),
        pytest.param([IMAGE * 0 + 7], [PAINTED], ImageError, "constant.*7", id="constant"),
        pytest.param([IMAGE * 1j], [PAINTED], ImageError, "complex128", id="complex"),
        pytest.param([IMAGE[None]], [PAINTED], ImageError, "wrong shape", id="image in 4-D"),
        pytest.param([IMAGE[:0]], [PAINTED[:0]], ImageError, "wrong shape", id="no pixels"),
        pytest.param([np.zeros((3, 64, 96))], [PAINTED], ImageError, "too many", id="c first"),
        pytest.param(
            [IMAGE, IMAGE[..., 0]],
            [PAINTED] * 2,
            ImageError,
            r"images\[1\].*number of channels",
            id="channels",
        ),
        pytest.param(
            IMAGE, PAINTED, InputError, r"fine_tune\(\[image\], \[regions\]\)", id="no lists"
        ),
        pytest.param(["a.png"], [PAINTED], InputError, "Read the file first", id="a path"),
        pytest.param([[[1, 2], [3]]], [PAINTED], InputError, "rows of one length", id="ragged"),
        pytest.param(
            IMAGE, [PAINTED], InputError, r"Of one image, write fine_tune\(\[", id="one 3-D"
        ),
        pytest.param(
            IMAGE[..., 0],
            [PAINTED],
            InputError,
            r"images cannot be used: .* got one array of shape \(64, 96\)",
            id="one of 2-D",
        ),
        pytest.param(None, [PAINTED], InputError, "got NoneType", id="nothing"),
        pytest.param("a.png", ["b"], InputError, "got 'a.png'. Read the file", id="one path"),
        pytest.param({"a": IMAGE}, [PAINTED], InputError, r"list\(images\.values\(\)\)", id="dict"),
        pytest.param(
            [torch.tensor(IMAGE).to_sparse()], [PAINTED], InputError, "asarray takes", id="sparse"
        ),
        pytest.param(
            [torch.zeros(9, 9, device="meta")], [PAINTED], InputError, r"\(.*no data", id="meta"
        ),
        pytest.param(
            [np.moveaxis(IMAGE, 2, 0)[:, :, :50]],
            [PAINTED[:, :50]],
            RegionError,
            r"Channels come last: numpy\.moveaxis",
            id="c first, narrow",
        ),
        pytest.param(
            [IMAGE],
            [np.where(PAINTED, PAINTED, np.nan)],
            RegionError,
            r"float64 with NaN\. .*nan_to_num",
            id="NaN regions",
        ),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(images, regions, error, words):
    with pytest.raises(error, match=words) as raised:
        fine_tune(images, regions, CHEAP)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (IMAGE[..., 0], "number of channels"),
        (_with(IMAGE, np.inf), "not finite"),
        (IMAGE[..., 0], "expected 3, got 1. Use a model of its kind"),
        (IMAGE[0, 0], "wrong shape"),
    ],
)
def test_an_image_that_cannot_be_predicted_is_said(model, image, words):
    with pytest.raises(ImageError, match=words):
        predict(model, image)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_is_predicted(model, value):
    flat = np.full((40, 50, 3), value, np.uint8)
    for image in (flat, np.where(np.arange(50)[:, None] < 9, np.nan, flat)):
        labels, probabilities = predict(model, image)
        known = ~np.isnan(image[..., 0]) if image.dtype.kind == "f" else np.ones((40, 50), bool)
        assert labels[known].all()
        assert not labels[~known].any()
        assert np.allclose(probabilities[:, known].sum(0), 1, atol=1e-5)


def test_arguments_of_other_kinds_are_said(model, tmp_path):
    with pytest.raises(InputError, match=r"image is not an array.*a\.png.*Read the file first"):
        predict(model, tmp_path / "a.png")
    with pytest.raises(InputError, match=r"what napari_cas\.fine_tune or load returns, got str"):
        predict("cells-model", IMAGE)
    with pytest.raises(ConfigError, match=r"got dict\. Config\.model_validate"):
        fine_tune([IMAGE], [PAINTED], {"seed": 1})
    with pytest.raises(InputError, match="progress cannot be called: expected a function, got 7"):
        fine_tune([IMAGE], [PAINTED], CHEAP, progress=7)


@pytest.mark.parametrize("path", [None, 7, ["m"], "a\0b"])
def test_a_path_that_is_none_is_said(model, path):
    for use in (load, model.save):
        with pytest.raises(InputError, match="path is not a path"):
            use(path)


def test_a_url_is_no_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (load, model.save):
        with pytest.raises(InputError, match=r"in a folder of a file system.*got s3://there/m"):
            use("s3://there/m")
    assert not list(tmp_path.iterdir())


def test_a_stack_of_another_library_is_a_list_of_its_planes():
    stacks = [np.stack([IMAGE, IMAGE[::-1]]), np.stack([PAINTED, PAINTED[::-1]])]
    one, other = (
        fine_tune(*stack, CHEAP).predict(IMAGE).probabilities
        for stack in (stacks, map(zarr.array, stacks))
    )
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "turned",
    [
        pytest.param(lambda a: torch.tensor(a), id="torch"),
        pytest.param(lambda a: torch.tensor(a / 1.0, requires_grad=True), id="requires gradients"),
        pytest.param(lambda a: zarr.array(a), id="zarr"),
        pytest.param(lambda a: a.astype(">u2"), id="big-endian"),
        pytest.param(lambda a: a.tolist(), id="lists"),
    ],
)
def test_arrays_of_other_libraries_are_taken(model, turned):
    found = predict(model, turned(IMAGE)).labels
    assert np.array_equal(found, predict(model, IMAGE).labels)


def test_masked_pixels_hold_no_data(model):
    hidden = np.zeros(IMAGE.shape, bool)
    hidden[:20] = True
    labels = predict(model, np.ma.masked_array(IMAGE, hidden)).labels
    assert not labels[:20].any()
    assert labels[20:].all()
    painted = np.ma.masked_array(PAINTED, PAINTED.max() == PAINTED)
    with pytest.raises(RegionError, match="Only one region"):
        fine_tune([IMAGE], [painted], CHEAP)


def test_pixels_without_data_are_not_learnt_from_and_get_no_label():
    image, painted = IMAGE.astype(np.float32), PAINTED.copy()
    image[48:] = np.nan
    image[5, 5, 1] = np.nan  # one channel of three: the others have data
    painted[56:] = 7
    model = fine_tune([image], [painted], CHEAP)
    found = predict(model, image)
    assert not found.labels[48:].any()
    assert not found.probabilities[:, 48:].any()
    assert found.labels[:48].all()
    assert np.allclose(found.probabilities[:, :48].sum(0), 1, atol=1e-5)
    same = fine_tune([image], [np.where(painted == 7, 0, painted)], CHEAP)
    assert np.array_equal(predict(same, image).probabilities, found.probabilities)


def test_predictions_do_not_depend_on_what_was_predicted_before(model):
    other = two_areas(64, 96, seed=5)[0]
    first = model.predict(other).probabilities
    model.predict(IMAGE)
    assert np.array_equal(model.predict(other).probabilities, first)


def test_save_and_load_predict_the_same(model, tmp_path):
    model.save(tmp_path / "deep" / "model")
    again = load(tmp_path / "deep" / "model")
    assert again.config == model.config
    assert np.array_equal(again.predict(IMAGE).probabilities, model.predict(IMAGE).probabilities)
    # Over a model that is there already, too.
    other = fine_tune([IMAGE[:, ::-1]], [PAINTED], CHEAP)
    other.save(str(tmp_path / "deep" / "model"))
    found = Model.load(str(tmp_path / "deep" / "model")).predict(IMAGE)
    assert np.array_equal(found.probabilities, other.predict(IMAGE).probabilities)


def test_a_few_pixels_of_five_channels_are_enough():
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 5)).astype(np.uint8)
    image[:, 4:] //= 3
    regions = np.zeros((8, 8), int)
    regions[2:6, :2], regions[2:6, 6:] = 1, 2
    assert fine_tune([image], [regions], CHEAP).predict(image).labels.all()


def test_a_model_of_five_channels_keeps_their_mixing(tmp_path):
    taught = fine_tune([five_channels()], [PAINTED], CHEAP)
    taught.save(tmp_path / "m")
    found = [m.predict(five_channels()).probabilities for m in (taught, load(tmp_path / "m"))]
    assert np.array_equal(*found)


def test_names_are_saved_with_the_model(model, tmp_path):
    assert model.names == {}
    model.names = {2: "leaf", 1: " sky "}
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.names == {1: "sky", 2: "leaf"}
    with pytest.raises(InputError, match="1 to 254"):
        again.names = {0: "nothing"}
    beyond = {2: "leaf", model.channels + 1: "no channel"}
    with pytest.raises(InputError, match=f"expected 1 to {model.channels}, got"):
        again.names = beyond
    with pytest.raises(TypeError):
        again.names[1] = "lost without a word"
    again.save(tmp_path / "m")
    assert load(tmp_path / "m").names == {1: "sky", 2: "leaf"}
    model.names = {}


def test_a_whole_network_is_taught_saved_and_loaded(tmp_path):
    config = Config(
        model=ModelSpec(name="lraspp_mobilenet_v3_large", weights="none", channels=3),
        fit=FitConfig(max_rounds=1, crop_size=64),
        predict=PredictConfig(tile_size=128),
    )
    taught = fine_tune([IMAGE], [PAINTED], config)
    taught.save(tmp_path / "m")
    found = [m.predict(IMAGE).probabilities for m in (taught, load(tmp_path / "m"))]
    assert found[0].shape == (3, 64, 96)
    assert np.array_equal(*found)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change(folder, **changes):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | changes))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda f: _cut(f / "weights.safetensors"), id="half the weights"),
        pytest.param(lambda f: _cut(f / "model.json"), id="half the record"),
        pytest.param(lambda f: (f / "weights.safetensors").write_bytes(b""), id="no bytes"),
        pytest.param(lambda f: (f / "weights.safetensors").write_bytes(b"PK" * 99), id="foreign"),
        pytest.param(lambda f: (f / "weights.safetensors").unlink(), id="no weights"),
        pytest.param(lambda f: (f / "model.json").unlink(), id="no record"),
        pytest.param(lambda f: (f / "model.json").write_bytes(b"\xff\xfe"), id="not text"),
        pytest.param(lambda f: (f / "model.json").write_text("[1, 2]"), id="a list"),
        pytest.param(lambda f: (f / "model.json").write_text("{}"), id="an empty record"),
        pytest.param(lambda f: _change(f, record=None), id="a record of nothing"),
        pytest.param(lambda f: _change(f, record=5), id="a record of a number"),
        pytest.param(lambda f: _change(f, format="other"), id="another format"),
        pytest.param(lambda f: _change(f, version=99), id="a newer version"),
        pytest.param(lambda f: _change(f, version=None), id="no version"),
        pytest.param(lambda f: _change(f, training={}), id="no progress"),
        pytest.param(lambda f: _change(f, input={"channels": 5}), id="another number of channels"),
        pytest.param(lambda f: _change(f, config={"model": {"channels": 7}}), id="other config"),
    ],
)
def test_a_foreign_or_damaged_model_is_refused_with_a_sentence(model, tmp_path, damage):
    model.save(tmp_path)
    assert load(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError):
        load(tmp_path)


def test_weights_of_something_else_are_refused(model, tmp_path):
    from safetensors.numpy import save_file

    model.save(tmp_path)
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        load(tmp_path)


def test_a_folder_that_is_not_there_or_cannot_be_written_is_said(model, tmp_path):
    with pytest.raises(CheckpointError, match="No readable model"):
        load(tmp_path / "nothing")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CASError, match="could not be saved") as caught:
        model.save(tmp_path / "file")
    assert ".." not in str(caught.value)
    with pytest.raises(CASError, match="file is a file, not a folder"):
        model.save(tmp_path / "file" / "below")
    for place, words in (("file", "got a file"), ("nothing", "got no such folder")):
        with pytest.raises(CheckpointError, match=words):
            load(tmp_path / place)
    (tmp_path / "project" / "models").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"no model\.json but a project"):
        load(tmp_path / "project")


def test_the_package_offers_it_by_name():
    assert napari_cas.fine_tune is fine_tune
    assert napari_cas.predict is predict
    assert napari_cas.load is load

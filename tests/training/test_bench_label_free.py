"""The label-free benchmark: what each method is told, its scores and what is written."""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_cas.config import Config, FitConfig
from napari_cas.errors import ConfigError
from training import bench_label_free as bench
from training import label_free
from training.__main__ import main
from training.bench_label_free import COLUMNS, Cell, cells
from training.data.labelled import Labelled
from training.data.saliency import DataSetError
from training.label_free import METHODS
from training.report_label_free import made_by, markdown, summarise, write
from training.scribbles import Scribbles, scribble


def plain(seed: int) -> Labelled:
    """Return an image of three colours whose layout differs by seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :80]
    truth = np.where(x < rng.integers(20, 40), 1, np.where(y < rng.integers(20, 40), 2, 3))
    colours = np.array([[0, 0, 0], [210, 40, 40], [40, 40, 210], [40, 210, 40]])
    image = np.clip(colours[truth] + rng.normal(0, 15, (64, 80, 3)), 0, 255)
    return Labelled(str(seed), image.astype(np.uint8), truth.astype(np.uint8))


@pytest.fixture(scope="module")
def images():
    return [plain(i) for i in range(3)], [plain(i) for i in range(3, 6)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Plain colours are learnt in one round."""
    monkeypatch.setattr(label_free, "ROUNDS", 1)
    quick = Config(fit=FitConfig(max_rounds=2))
    monkeypatch.setitem(METHODS, "ours", partial(label_free.ours, config=quick))


@pytest.mark.parametrize("name", METHODS)
def test_methods_given_the_names_or_needing_none_segment_plain_colours(images, name):
    from napari_cas.metrics.regions import adjusted_rand_index

    painted, others = images
    shuffle = name == "ours"
    strokes = [scribble(p.truth, Scribbles(shuffle=shuffle), seed=i) for i, p in enumerate(painted)]
    learnt = METHODS[name]([p.image for p in painted], strokes, [o.image for o in others], 0)
    aris = [adjusted_rand_index(o.truth, f) for o, f in zip(others, learnt.labels, strict=True)]
    assert np.mean(aris) > 0.8
    assert learnt.fit_seconds > 0
    assert learnt.predict_seconds > 0


@pytest.mark.parametrize("name", ["cross-entropy", "forest"])
def test_shuffled_names_hurt_methods_that_need_them(images, name):
    painted, others = images
    # id 1 means another colour in each image
    strokes = [scribble(p.truth, Scribbles(shuffle=False)) for p in painted]
    turned = [
        np.array([0, *np.roll([1, 2, 3], k)])[s].astype(np.int32) for k, s in enumerate(strokes)
    ]
    run = METHODS[name]
    arrays = [p.image for p in painted], [o.image for o in others]
    told = bench.score_labels(run(arrays[0], strokes, arrays[1], 0).labels, others, 3)
    misled = bench.score_labels(run(arrays[0], turned, arrays[1], 0).labels, others, 3)
    assert misled["ari"] < told["ari"] - 0.3
    assert misled["miou"] < told["miou"] - 0.3


def test_scores_see_channels_that_change_their_meaning():
    items = [Labelled("a", np.zeros((2, 4)), np.array([[1, 1, 2, 2]] * 2)) for _ in range(2)]
    steady = bench.score_labels([np.array([[5, 5, 3, 3]] * 2)] * 2, items, 2)
    assert steady == {"ari": 1.0, "miou": 1.0}
    turned = [np.array([[5, 5, 3, 3]] * 2), np.array([[3, 3, 5, 5]] * 2)]
    swapped = bench.score_labels(turned, items, 2)
    assert swapped["ari"] == 1.0
    assert swapped["miou"] == pytest.approx(1 / 3)


def test_painted_and_scored_images_are_apart_and_seeded():
    found = bench.split(Cell("mosaics", 3, 0.8, 1), test=2)
    again = bench.split(Cell("mosaics", 3, 0.8, 1), test=2)
    other = bench.split(Cell("mosaics", 3, 0.8, 2), test=2)
    assert [p.name for p in found[0]] == [p.name for p in again[0]] != [p.name for p in other[0]]
    assert all(p.name.startswith("train") for p in found[0])
    assert all(o.name.startswith("test") for o in found[1])


def test_mosaics_may_be_of_many_kinds():
    painted, others, classes = bench.split(Cell("mosaics:12", 3, 0.8, 1), test=2)
    assert classes == 12
    assert {len(np.unique(item.truth)) for item in [*painted, *others]} == {4}


@pytest.mark.parametrize(
    ("name", "expected"), [("mosaics:2", "3 to 12, got 2"), ("mosaics:many", "mosaics:N")]
)
def test_mosaics_of_other_numbers_are_refused_before_the_work(name, expected):
    with pytest.raises(DataSetError, match=expected):
        bench.check_sets([name])


@pytest.fixture
def own(tmp_path):
    """Five images of one's own; the second shows one class only."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for i in range(5):
        item = plain(i)
        mask = item.truth if i != 1 else np.ones_like(item.truth)
        Picture.fromarray(item.image).save(tmp_path / "images" / f"{i}.png")
        Picture.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    return str(tmp_path)


def test_images_of_ones_own_that_show_most_are_painted_first(own):
    painted, others, classes = bench.split(Cell(own, 4, 0.8, 0), test=9)
    assert classes == 3
    assert sorted(p.name for p in painted) == ["0", "2", "3", "4"]
    assert [o.name for o in others] == ["1"]
    with pytest.raises(DataSetError, match=r"too few images.*:alone behind it"):
        bench.split(Cell(own, 5, 0.8, 0), test=9)


def test_images_of_ones_own_are_segmented_each_by_itself_where_asked(own, monkeypatch):
    known = {name: METHODS[name] for name in ("ours", "forest")}
    monkeypatch.setattr(bench, "METHODS", known)
    monkeypatch.setattr(bench, "COLUMNS", ("ours", "forest, true"))
    found = bench.measure(Cell(f"{own}:alone", 1, 0.8, 0), test=9, single=9)
    assert found["images"] == 4  # an image of one class has nothing to tell apart
    assert found["methods"]["ours"]["ari"] > 0.8


@pytest.mark.parametrize("name", ["label-free", "robustness", "ablation"])
def test_a_set_that_is_not_there_is_told_before_the_work(name, monkeypatch, capsys):
    monkeypatch.setattr(f"training.bench_{name.replace('-', '_')}.measure", pytest.fail)
    assert main(["bench", name, "--sets", "mosaics", "nowhere:alone"]) == 2
    assert "Unknown set" in capsys.readouterr().err


def test_large_images_are_cropped_in_their_middle():
    item = Labelled("a", np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4))
    assert bench.cropped(item, 2).truth.tolist() == [[1, 2], [5, 6]]


def made_cells() -> dict:
    def row(ari):
        return {"ari": ari, "miou": ari / 2, "fit_seconds": 1.0, "predict_seconds": 2.0}

    found = {}
    for n, length in ((1, 0.8), (12, 0.8), (12, 0.1)):
        for seed in (0, 1):
            cell = Cell("wbc", n, length, seed)
            methods = {c: row(0.5 + 0.1 * seed) for c in COLUMNS} | {"ours": row(0.7 + 0.1 * seed)}
            shape = {"set": "wbc", "painted": n, "length": length, "seed": seed}
            found[cell.key] = shape | {"pixels": 100 * length, "images": 3, "methods": methods}
    return found


def test_the_summary_spreads_over_seeds():
    result = summarise(made_cells())
    assert result["table"]["wbc"]["painted"] == 12
    assert result["table"]["wbc"]["methods"]["ours"]["ari"] == pytest.approx([0.75, 0.0707107])
    assert [(p["painted"], p["length"]) for p in result["curves"]["wbc"]] == [
        (1, 0.8),
        (12, 0.1),
        (12, 0.8),
    ]
    assert "| 0.750 ± 0.071 |" in markdown(result)
    assert "| +0.200 |" in markdown(result)


def test_results_are_written_and_taken_up_again(tmp_path, monkeypatch):
    done = made_cells()
    write({"cells": done} | summarise(done) | {"machine": {"cores": 2}}, tmp_path)
    with (tmp_path / "label_free.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(done) * len(COLUMNS)
    assert (tmp_path / "label_free_wbc.png").stat().st_size > 5000
    assert "cores 2" in (tmp_path / "label_free.md").read_text()

    parser = ArgumentParser()
    bench.add_arguments(parser)
    words = ["--sets", "wbc", "--seeds", "2", "--test", "3", "--sweep", "--results", str(tmp_path)]
    args = parser.parse_args(words)
    assert [cell.key for cell in cells(args)] == [
        "wbc n=12 length=0.8 seed=0",
        "wbc n=12 length=0.8 seed=1",
    ]
    monkeypatch.setattr(bench, "measure", lambda *_a, **_k: pytest.fail("was done already"))
    assert (
        bench.run(args)["cells"] == json.loads((tmp_path / "label_free.json").read_text())["cells"]
    )


def parsed(*words):
    parser = ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def measured(monkeypatch, images=None):
    """Have experiments measured at once; return the numbers of images asked for."""
    asked = []

    def measure(cell, *, test, single):
        asked.append((test, single))
        found = made_cells()["wbc n=12 length=0.8 seed=0"]
        scored = images or (single if bench.is_single(cell.set) else test)
        return {"pixels": 80.0, "images": scored, "methods": found["methods"]}

    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "check_sets", lambda _: None)
    return asked


@pytest.mark.parametrize(("name", "option"), [("mosaics", "--test"), ("rwtd", "--single")])
def test_results_of_another_number_of_images_are_not_taken_for_these(
    name, option, tmp_path, monkeypatch
):
    asked = measured(monkeypatch)
    common = ["--sets", name, "--seeds", 1, "--sweep", "--results", tmp_path]
    bench.run(parsed(*common, option, 4))
    before = (tmp_path / "label_free.json").read_bytes()
    for other in (3, 5):
        wanted = rf"another {option}: .*4 images.*got {option} {other}"
        with pytest.raises(ConfigError, match=wanted):
            bench.run(parsed(*common, option, other))
    assert (tmp_path / "label_free.json").read_bytes() == before
    bench.run(parsed(*common, option, 4))
    assert len(asked) == 1


def test_a_set_with_fewer_images_is_not_measured_again(own, tmp_path, monkeypatch):
    asked = measured(monkeypatch, images=1)
    args = parsed("--sets", own, "--seeds", 1, "--sweep", "--results", tmp_path / "out")
    bench.run(args)
    bench.run(args)
    assert asked == [(30, 20)]


@pytest.mark.parametrize(("scored", "fits"), [(1, True), (2, False)])
def test_earlier_results_are_of_as_many_as_were_scored_or_as_there_are(scored, fits, own):
    found = {"set": own, "painted": 4, "length": 0.8, "seed": 0, "images": scored}
    if fits:  # of five images one is left
        bench.check_kept({"a": found}, parsed("--sets", own))
    else:
        with pytest.raises(ConfigError, match="another --test"):
            bench.check_kept({"a": found}, parsed("--sets", own))
    bench.check_kept({"a": found | {"set": "no/where"}}, parsed("--sets", "no/where"))
    bench.check_kept({"a": found}, parsed())  # of another set


def test_the_committed_results_can_be_gone_on_with():
    file = Path(__file__).parents[2] / "docs" / "results" / "label_free.json"
    done = json.loads(file.read_text("utf-8"))["cells"]
    bench.check_kept(done, parsed())
    with pytest.raises(ConfigError, match="another --test"):
        bench.check_kept(done, parsed("--test", "29"))
    assert f"{len(done)} experiments" in " ".join(made_by(done))


def test_the_report_names_the_commands_that_were_typed(tmp_path, monkeypatch):
    measured(monkeypatch)
    results = ["--results", tmp_path]
    first = ["--sets", "/somebody/s/mosaics:12", "wbc", "--seeds", 1, "--test", 4, "--sweep"]
    bench.run(parsed(*first, *results))
    bench.run(parsed("--sets", "mosaics", "--seeds", 2, "--test", 5, "--sweep", *results))
    text = (tmp_path / "label_free.md").read_text("utf-8")
    command = "python -m training bench label-free"
    assert (
        f"Made by `{command} --sets mosaics:12 wbc --seeds 1 --test 4 --sweep`, "
        f"`{command} --sets mosaics --seeds 2 --test 5 --sweep`.\n"
    ) in text
    assert "earlier state" not in text


def test_the_report_says_what_other_code_made(tmp_path, monkeypatch):
    measured(monkeypatch)
    words = ["--sets", "mosaics", "--sweep", "--results", tmp_path, "--seeds"]
    bench.run(parsed(*words, 1))
    monkeypatch.setattr("training.report_label_free.code_digest", lambda: "other")
    monkeypatch.setattr(bench, "code_digest", lambda: "other")
    bench.run(parsed(*words, 3))
    text = (tmp_path / "label_free.md").read_text("utf-8")
    assert "1 of 3 experiments were made by an earlier state of the code" in text

"""The tables: their rows, what they say when something is missing, and the command itself."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys

import numpy as np
import pytest

from training.__main__ import main
from training.data.saliency import DataSetError
from training.regions import connected, to_shape
from training.report import Column, Table, spread
from training.saliency.runs import Place
from training.table_saliency import LOSSES, build, plan


class TestReport:
    def test_markdown_and_csv(self, tmp_path):
        columns = (Column("a", "A"), Column("b"), Column("c", "C", digits=1))
        table = Table("t", "Title", columns, [{"a": 0.12345, "b": 1.0}, {"a": "x", "c": 2.25}])
        table.notes.append("a note")
        table.write(tmp_path)
        text = (tmp_path / "t.md").read_text()
        assert text == ("# Title\n\n| A | C |\n|---|---|\n| 0.123 | – |\n| x | 2.2 |\n\n- a note\n")
        with (tmp_path / "t.csv").open() as opened:
            assert list(csv.reader(opened)) == [
                ["a", "b", "c"], ["0.1235", "1.0000", ""], ["x", "", "2.25"],
            ]  # fmt: skip

    def test_spread_is_over_several_only(self):
        assert spread([0.5]) == "0.500"
        assert spread([0.4, 0.6]) == "0.500 ± 0.141"


class TestPlans:
    @pytest.mark.parametrize("small", [False, True])
    @pytest.mark.parametrize("number", [1, 2, 3, 7])
    def test_every_row_has_recipes_of_its_own(self, number, small):
        wanted = plan(number, small=small)
        keys = [r.key for line in wanted.lines for r in wanted.recipes(line, 2, {})]
        assert len(set(keys)) == len(keys) == 2 * len(wanted.lines)

    def test_the_paper_s_settings(self):
        line = plan(1, small=False).lines[0]
        (recipe,) = plan(1, small=False).recipes(line, 1, {})
        assert (recipe.loss, recipe.alpha, recipe.discriminator) == ("cas", 0.1, "squared")
        assert (recipe.train_set, recipe.network) == ("MSRA-B", "fcn_resnet101")
        assert (recipe.size, recipe.learning_rate, recipe.flip) == (256, 1e-3, 0.5)

    def test_published_figures_stand_by_their_own_rows_only(self):
        for number, train_set in ((1, "MSRA-B"), (2, "DUTS-TR")):
            rows = [x for x in plan(number, small=False).lines if x.paper]
            assert [(r.method, r.settings["train_set"], r.settings["network"]) for r in rows] == [
                ("CAS", train_set, "fcn_resnet101")
            ]

    def test_all_losses_are_compared(self):
        assert len(plan(1, small=True).lines) == len(LOSSES)


class TestMissing:
    def test_rows_without_data_or_gpu_say_so(self, tiny_set, tmp_path):
        data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=2)
        place = Place(data=data, cache=tmp_path / "cache", say=lambda _: None)
        table, found = build(plan(1, small=True), place, seeds=1, common={}, gpu_needed=False)
        assert found["runs"] == []
        assert {row["ECSSD f"] for row in table.rows} == {"not run: data not available"}
        tiny_set("DUTS-TR", "images/{}.jpg", "masks/{}.png", count=2)
        table, _ = build(plan(3, small=False), place, seeds=1, common={}, gpu_needed=True)
        assert {row["ECSSD f"] for row in table.rows} == {"not run: needs a GPU"}

    @pytest.mark.parametrize("number", ["4", "5", "6"])
    def test_region_tables(self, number, tmp_path, capsys):
        code = main(
            ["table", number, "--small", "--device", "cpu", "--seeds", "1", "--data",
             str(tmp_path), "--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "out")]
        )  # fmt: skip
        assert code == 0
        text = capsys.readouterr().out
        assert text.count("not run: data not available") >= 2, text
        assert "the paper's" in text

    @pytest.mark.parametrize("number", ["4", "5", "6"])
    @pytest.mark.parametrize("small", [True, False])
    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_region_tables_are_small_where_asked_on_any_device(
        self, number, small, device, tmp_path, monkeypatch
    ):
        import training.table_regions as tables

        tried = []

        def stop(recipe, place, *_):
            tried.append((recipe.network, place.device))
            raise DataSetError("stop here")

        monkeypatch.setattr(tables, "digest_at_hand", lambda *_: "any")
        monkeypatch.setattr(tables, "_kept", stop)
        monkeypatch.setattr("training.tables.device", str)  # there may be no GPU
        words = ["table", number, *["--small"] * small, "--device", device]
        folders = ["--data", str(tmp_path), "--results", str(tmp_path / "out")]
        assert main([*words, *folders, "--cache", str(tmp_path / "cache")]) == 0
        ((network, on),) = tried
        assert on == device
        assert (network == "fcn_resnet101") is not small
        (made,) = (tmp_path / "out").glob("*.md")
        assert made.stem == f"table{number}" + "-small" * small
        assert ("small scale" in made.read_text()) is small

    def test_without_a_gpu_the_paper_s_size_is_not_run(self, tmp_path):
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
        done = subprocess.run(
            [sys.executable, "-m", "training", "table", "6", "--results", str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "not run: needs a GPU" in done.stdout
        assert (tmp_path / "table6.csv").is_file()


class TestEndToEnd:
    def test_table_3_on_a_tiny_set(self, tiny_set, tmp_path, monkeypatch, capsys):
        """The real command on made pictures: decode, features, train, score, write, resume."""
        import training.data.saliency as sets
        import training.saliency.runs as runs
        import training.table_saliency as tables

        for name, count in (("DUTS-TR", 12), ("ECSSD", 4), ("DUTS-TE", 4)):
            tiny_set(name, "images/{}.png", "masks/{}.png", count=count)
            known = sets.SETS[name]
            smaller = sets.SaliencySet(name, count, known.roots, known.layouts, known.source)
            monkeypatch.setitem(sets.SETS, name, smaller)
        monkeypatch.setattr(tables, "SMALL_FLIPS", (0.0, 0.5))
        tiny = ["--small", "--threads", "1", "--data", str(tmp_path / "data"),
                "--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "out"),
                "--train-images", "8", "--validation-images", "4", "--epochs", "1",
                "--batch-size", "4", "--size", "64"]  # fmt: skip
        words = ["table", "3", "--seeds", "2", *tiny]
        assert main(words) == 0
        with (tmp_path / "out/table3-small.csv").open() as opened:
            rows = list(csv.DictReader(opened))
        assert [(r["method"], r["flip"]) for r in rows] == [
            (method, p) for method in ("CAS", "cross-entropy", "CACE") for p in ("0", "0.5")
        ]
        assert all("±" in r["ECSSD f"] and "±" in r["DUTS-TE mae"] for r in rows)
        assert (tmp_path / "out/table3-small.png").stat().st_size > 10_000
        assert main(["figure", "1", "--rows", "2", *tiny]) == 0
        assert (tmp_path / "out/figure1.png").stat().st_size > 5_000
        made = {
            p: p.stat().st_mtime_ns for p in (tmp_path / "cache/runs").rglob("*") if p.is_file()
        }
        assert len([p for p in made if p.name == "scores.json"]) == 12
        monkeypatch.setattr(runs, "open_run", None)  # a second time, nothing is trained
        assert main(words) == 0
        assert made == {p: p.stat().st_mtime_ns for p in made}
        capsys.readouterr()


class TestOwnSets:
    def tiny(self, tmp_path):
        return ["--small", "--threads", "1", "--seeds", "1", "--epochs", "1", "--batch-size", "4",
                "--size", "64", "--cache", str(tmp_path / "cache"),
                "--results", str(tmp_path / "out"), "--data", str(tmp_path)]  # fmt: skip

    def test_a_folder_to_train_on_and_a_zip_to_test_on(
        self, tiny_set, tmp_path, monkeypatch, capsys
    ):
        import training.table_saliency as tables

        data = tiny_set("mine", "images/{}.png", "masks/{}.png", count=10)
        tiny_set("box/theirs", "images/t{}.png", "masks/t{}.png", count=3)
        shutil.make_archive(str(data / "theirs"), "zip", data / "box")
        monkeypatch.setattr(tables, "SMALL_FLIPS", (0.5,))
        words = ["table", "3", "--train", str(data / "mine"), "--test", str(data / "theirs.zip"),
                 str(data / "mine"), *self.tiny(tmp_path)]  # fmt: skip
        assert main(words) == 0
        with (tmp_path / "out/table3-small-own.csv").open() as opened:
            rows = list(csv.DictReader(opened))
        assert [r["method"] for r in rows] == ["CAS", "cross-entropy", "CACE"]
        mine = rows[0]["train"]
        (theirs,) = [c.removesuffix(" mae") for c in rows[0] if c.startswith("theirs")
                     and c.endswith(" mae")]  # fmt: skip
        assert mine.startswith("mine-")
        assert all(0 <= float(r[f"{s} mae"]) <= 1 for r in rows for s in (mine, theirs))
        assert {r[f"{mine} paper"] for r in rows} == {""}
        text = capsys.readouterr().out
        assert f"8 images of {mine}" in text  # a fifth of ten is held out
        assert str(tmp_path) not in text.split("- Made by")[1]
        runs = {p.name for p in (tmp_path / "cache/runs").iterdir()}
        tiny_set("mine", "images/{}.png", "masks/{}.png", count=11)
        assert main(words) == 0  # other pictures at the same place are another set
        assert len({p.name for p in (tmp_path / "cache/runs").iterdir()} - runs) == 3

    def test_a_table_that_was_measured_is_not_replaced_by_one_that_was_not(self, tmp_path, capsys):
        words = ["table", "3", "--data", str(tmp_path / "nothing"), *self.tiny(tmp_path)]
        assert main(words) == 0
        file = tmp_path / "out" / "table3-small.md"
        assert "not run" in file.read_text()
        file.write_text("measured")
        assert main(words) == 0
        assert "is left as it is" in capsys.readouterr().err
        assert file.read_text() == "measured"

    @pytest.mark.parametrize(
        ("words", "what"),
        [
            (["4", "--train", "here"], "has a set of its own"),
            (["3", "--train", "nowhere"], "There is no such data set"),
            (["3", "--train-images", "9", "--train", "mine", "--test", "mine"], "cannot give"),
        ],
    )
    def test_what_cannot_be_done_says_why(
        self, words, what, tiny_set, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tiny_set("mine", "images/{}.png", "masks/{}.png", count=5))
        assert main(["table", *words, *self.tiny(tmp_path)]) == 2
        assert what in capsys.readouterr().err


class TestRegions:
    def test_small_parts_join_their_nearest(self):
        labels = np.ones((20, 20), int)
        labels[:, 10:] = 2
        labels[5, 3] = 2  # one pixel of the other label inside the left half
        parts = connected(labels, 5)
        assert len(np.unique(parts)) == 2
        assert (parts[:, :10] == parts[0, 0]).all()
        assert len(np.unique(connected(labels, 1))) == 3

    @pytest.mark.parametrize("shape", [(321, 481), (481, 321)])
    def test_back_to_the_shape_of_the_picture(self, shape):
        from training.regions import _landscape

        picture = np.arange(shape[0] * shape[1]).reshape(shape)
        small = _landscape(picture)
        assert small.shape == (320, 480)
        back = to_shape(small, shape)
        assert back.shape == shape
        assert np.array_equal(back[:320, :320], picture[:320, :320])

"""Options that cannot be used are refused before any work."""

import re

import pytest

from training.__main__ import main


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["table", "3", "--small", "--seeds", "0"], "--seeds: expected a number from 1 up, got 0"),
        (["table", "3", "--threads", "-1"], "--threads: expected a number from 1 up, got -1"),
        (["bench", "robustness", "--seeds", "none"], "--seeds: invalid count value"),
        (["table", "3", "--small", "--device", "abacus"], "torch knows no device 'abacus'"),
        (["bench", "robustness", "--faults", "rain"], "--faults: invalid choice: 'rain'"),
        (
            ["bench", "ablation", "--variants", "mine"],
            "argument --variants: invalid choice: 'mine'",
        ),
        (["figure", "1", "--rows", "0"], "--rows: expected a number from 1 up, got 0"),
        (["bench", "loss", "--channels", "4", "0"], "--channels: expected a number from 1 up"),
        (["bench", "loss", "--turns", "0"], "--turns: expected a number from 1 up, got 0"),
        (["bench", "loss", "--device", "cuda:99"], "CUDA devices here, got 'cuda:99'"),
        (["bench", "label-free", "--test", "0"], "--test: expected a number from 1 up, got 0"),
        (["bench", "onward", "--images", "1"], "--images: expected a number from 2 up, got 1"),
        (["figure", "1", "--device", "cuda:99"], "CUDA devices here, got 'cuda:99'"),
    ],
)
def test_impossible_values(words, what, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert what in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["table", "3", "--small", "--epochs", "0"], "--epochs cannot be 0: expected greater than"),
        (["figure", "1", "--small", "--batch-size", "0"], "--batch-size cannot be 0: expected"),
        (
            ["table", "3", "--small", "--network", "tiny"],
            "--network cannot be tiny: expected 'small",
        ),
        # They would be dropped, and named in the table all the same.
        (["table", "4", "--small", "--epochs", "3"], "Table 4 has recipes of its own.*--epochs"),
        (["table", "6", "--small", "--channels-last"], "Table 6 .* got --channels-last"),
        (["figure", "3", "--small", "--size", "64"], "Figure 3 has recipes of its own.*--size"),
    ],
)
def test_settings_that_no_recipe_takes(words, what, capsys, tmp_path):
    assert main([*words, "--results", str(tmp_path), "--cache", str(tmp_path)]) == 2
    assert re.search(what, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())

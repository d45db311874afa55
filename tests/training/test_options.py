"""Options that cannot be used are refused before any work."""

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
        (["figure", "1", "--device", "cuda:99"], "CUDA devices here, got 'cuda:99'"),
    ],
)
def test_impossible_values(words, what, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert what in capsys.readouterr().err

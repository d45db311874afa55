"""Several processes on one run: real ones, started by torchrun."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from napari_cas.errors import ConfigError
from training.saliency.team import ALONE, Team, assembled


def torchrun(tmp_path, code: str, *words: object, processes: int = 2, check: bool = True):
    """Run code in processes that torchrun starts; return what they did."""
    script = tmp_path / "team.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), str(script), *map(str, words)]
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        command, capture_output=True, text=True, check=check, env=os.environ | own, timeout=200
    )


TRAIN = """
    import sys
    from pathlib import Path
    import numpy as np
    import torch
    from training.data.store import MappedSet
    from training.saliency import loop
    from training.saliency.feed import Examples
    from training.saliency.recipe import small_recipe
    from training.saliency.team import assembled

    def network(recipe):  # without batch normalisation, which sees a process's share on the CPU
        torch.manual_seed(recipe.seed)
        return torch.nn.Conv2d(3, recipe.channels, 3, padding=1)

    loop.create_network = network
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 32, 32), np.uint8)
    masks[:, 8:20, 8:24] = 255
    images = (rng.normal(size=(12, 3, 32, 32)) + masks[:, None] / 100).astype(np.float32)
    pictures = MappedSet("made", tuple("abcdefghijkl"), np.zeros((12, 1, 1, 3)), masks, "0")
    recipe = small_recipe(epochs=3, batch_size=4, flip=0.5, learning_rate=1e-2)
    with assembled("cpu") as (team, device):
        examples = Examples((images,), pictures, np.arange(12), -1)
        made = loop.train(recipe, examples, Path(sys.argv[1]), device=device, team=team)
        told = f"{team.size} {made.record['processes']} {made.record['epochs_done']}"
        Path(f"{sys.argv[1]}.{team.rank}").write_text(told)
"""


@pytest.mark.slow
def test_two_processes_train_what_one_would(tmp_path):
    from safetensors.torch import load_file

    for processes in (1, 2):
        run = tmp_path / f"by{processes}"
        torchrun(tmp_path, TRAIN, run, processes=processes)
        for rank in range(processes):
            assert Path(f"{run}.{rank}").read_text() == f"{processes} {processes} 3"
    alone, together = (load_file(tmp_path / f"by{n}/checkpoint.safetensors") for n in (1, 2))
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        assert torch.allclose(tensor, together[name], atol=1e-5), name
    logs = []
    for processes in (1, 2):
        with (tmp_path / f"by{processes}/log.csv").open() as opened:
            logs.append([float(row["loss"]) for row in csv.DictReader(opened)])
    assert len(logs[0]) == 3  # one line an epoch, by the leader alone
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


@pytest.mark.slow
def test_a_run_taken_up_by_two_processes_goes_on(tmp_path):
    fewer = TRAIN.replace("epochs=3", "epochs=1")
    torchrun(tmp_path, fewer, tmp_path / "run", processes=1)
    torchrun(tmp_path, TRAIN, tmp_path / "run")
    assert {(tmp_path / f"run.{rank}").read_text() for rank in (0, 1)} == {"2 2 3"}


def test_the_leader_goes_first_and_tells_the_others(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from training.saliency.team import assembled

        kept = Path(sys.argv[1])
        with assembled("cpu") as (team, _):
            with team.leader_first():
                found = kept.is_file()
                if team.leads:
                    kept.touch()
            told = team.from_leader(lambda: {"by": team.rank})
            kept.with_suffix(f".{team.rank}").write_text(f"{found} {told}")
    """
    torchrun(tmp_path, code, tmp_path / "kept")
    assert (tmp_path / "kept.0").read_text() == "False {'by': 0}"
    assert (tmp_path / "kept.1").read_text() == "True {'by': 0}"


@pytest.mark.slow
def test_a_table_by_two_processes(tiny_set, tmp_path):
    for name, count in (("DUTS-TR", 12), ("ECSSD", 4), ("DUTS-TE", 4)):
        tiny_set(name, "images/{}.png", "masks/{}.png", count=count)
    code = """
        import sys
        import training.data.saliency as sets
        from training.__main__ import main

        for name, count in (("DUTS-TR", 12), ("ECSSD", 4), ("DUTS-TE", 4)):
            known = sets.SETS[name]
            sets.SETS[name] = sets.SaliencySet(
                name, count, known.roots, known.layouts, known.source
            )
        sys.exit(main(sys.argv[1:]))
    """
    words = ["table", "7", "--small", "--seeds", "1", "--threads", "1", "--train-images", "8",
             "--validation-images", "4", "--epochs", "1", "--batch-size", "4", "--size", "64",
             "--data", tmp_path / "data", "--cache", tmp_path / "cache",
             "--results", tmp_path / "out"]  # fmt: skip
    done = torchrun(tmp_path, code, *words)
    assert done.stdout.count("# Table 7") == 1
    with (tmp_path / "out/table7-small.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 7
    assert all(0 <= float(row["ECSSD mae"]) <= 1 for row in rows)
    folders = words[words.index("--data") :]
    again = torchrun(tmp_path, code, "table", "6", "--small", *folders, check=False)
    assert again.returncode != 0
    assert "made by one process" in again.stderr


def test_alone_nothing_is_started():
    with assembled("cpu") as (team, device):
        assert (team, device) == (ALONE, "cpu")
        assert not torch.distributed.is_initialized()
    assert team.from_leader(lambda: 3) == 3
    model = torch.nn.Linear(1, 1)
    assert team.wrap(model, "cpu") is model


def test_shares_of_a_batch_are_even_and_apart():
    order = list(range(12))
    shares = [order[Team(rank, 3).share(12)] for rank in range(3)]
    assert sorted(shares[0] + shares[1] + shares[2]) == order
    assert {len(share) for share in shares} == {4}
    with pytest.raises(ConfigError, match="a multiple of 3, got 16"):
        Team(0, 3).share(16)

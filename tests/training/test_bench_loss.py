import argparse

import pytest
import torch

from napari_cas.losses import cas_loss, index_regions
from training import bench_loss


@pytest.mark.parametrize("layout", ["cells", "confetti"])
def test_the_compared_forms_are_the_same_function(layout):
    torch.manual_seed(0)
    ids = bench_loss.make_regions(5, 24, layout, torch.device("cpu"))
    assert ids.shape == (4, 24, 24)
    assert ids.unique().tolist() == [1, 2, 3, 4, 5]
    regions = index_regions(ids)
    logits = torch.randn(4, 6, 24, 24, requires_grad=True)
    wanted = cas_loss(logits, regions)
    for form in (bench_loss.plain_loss, bench_loss.dense_loss):
        loss = form(logits, regions)
        torch.testing.assert_close(loss, wanted)
        torch.testing.assert_close(
            torch.autograd.grad(loss, logits)[0],
            torch.autograd.grad(wanted, logits, retain_graph=True)[0],
            rtol=1e-4,
            atol=1e-8,
        )


def test_reports_times_ratios_and_flatness():
    parser = argparse.ArgumentParser()
    bench_loss.add_arguments(parser)
    words = ["--channels", "4", "--size", "32", "--regions", "2", "9", "--turns", "2"]
    result = bench_loss.run(parser.parse_args([*words, "--device", "cpu", "--clock", "wall"]))
    assert [row["regions"] for row in result["rows"]] == [2, 9]
    for row in result["rows"]:
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["cross_entropy_ms"])
        assert row["ratio_dense"] > 0
    assert result["worst_ratio"] == max(row["ratio"] for row in result["rows"])
    assert result["flatness"][0]["ratio"] > 0
    text = bench_loss.describe(result)
    assert text.count("\n| 4 | 32 |") == 2
    assert "no CUDA device" in text


def test_the_compiled_form_and_what_a_gpu_adds_have_columns(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    parser = argparse.ArgumentParser()
    bench_loss.add_arguments(parser)
    words = [
        "--channels",
        "4",
        "--size",
        "16",
        "--regions",
        "2",
        "--turns",
        "1",
        "--device",
        "cpu",
        "--compiled",
    ]
    result = bench_loss.run(parser.parse_args(words))
    (row,) = result["rows"]
    assert row["ratio_compiled"] > 0
    assert "memory" not in bench_loss.describe(result)
    row |= {"floor_share": 0.81, "extra_mib": 0.25}
    head, rule, line = bench_loss.describe(result).splitlines()[3:6]
    assert head.endswith("| compiled / c.-e. | floor of memory / ours | memory beside, MiB |")
    assert line.endswith("| 0.81 | 0.25 |")
    assert head.count("|") == rule.count("|") == line.count("|")


def test_the_floor_of_memory_is_three_passes_a_copy_is_two():
    ticks = iter([0.0, 9.0, 10.0, 12.0, 20.0, 24.0])
    assert bench_loss._floor(torch.zeros(1, 2, 3), 2, lambda: next(ticks)) == 1.5 * 2

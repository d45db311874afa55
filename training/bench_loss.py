"""Time the loss beside cross-entropy on the same logits: forward and backward, same run, in turns.

Ways to the same number are compared: ours (:func:`napari_cas.losses.cas_loss`), the same formula in
plain vectorised torch left to autograd, that compiled, and one dense mask per region. The smallest
time of several turns is taken, since other work on the machine only ever adds.

On a GPU, ours is also held against the floor that memory sets, which is to read the logits in the
forward pass and in the backward pass and to write their gradient: one and a half times as long as
it takes to copy them. And the memory is measured that it needs beside logits and gradient.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from napari_cas.losses import RegionIndex, cas_loss, index_regions
from training.options import count, device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH = 4
_DENSE_BYTES = 2_000_000_000
"""The dense form keeps one masked copy of the softmax per region; beyond this it is not run."""


_MORE = {
    "ratio_compiled": "compiled / c.-e.",
    "floor_share": "floor of memory / ours",
    "extra_mib": "memory beside, MiB",
}
"""Columns that are shown where they were measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options to a parser."""
    parser.add_argument("--channels", type=count, nargs="+", default=[8, 16, 64])
    parser.add_argument("--size", type=count, nargs="+", default=[256, 512], help="image sides")
    parser.add_argument(
        "--regions", type=count, nargs="+", default=[2, 8, 32, 256], help="per image"
    )
    parser.add_argument("--turns", type=count, default=12, help="the best of so many counts")
    parser.add_argument("--threads", type=count, help="of torch; by default its own choice")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time of one thread, for machines where others are at work",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto: cuda if there")
    parser.add_argument(
        "--layout",
        choices=("cells", "confetti"),
        default="cells",
        help="regions as Voronoi cells or as pixels drawn at random",
    )
    parser.add_argument("--ours-only", action="store_true", help="leave the slow forms out")
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="the plain form by torch.compile, too; on a GPU it always is",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Time all sizes and return rows of milliseconds and of ratios to cross-entropy.

    Parameters
    ----------
    args : argparse.Namespace
        What :func:`add_arguments` defines.

    Returns
    -------
    dict
        ``rows`` (one per channels, size and number of regions), ``worst_ratio``, ``flatness`` (most
        regions against fewest, per channels and size), ``device`` and ``machine``.
    """
    from training.machine import describe_machine

    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.threads or args.clock == "cpu":
        torch.set_num_threads(1 if args.clock == "cpu" else args.threads)
    rows: list[dict[str, Any]] = []
    for channels in args.channels:
        for size in args.size:
            rows += _measure(channels, size, torch.device(device), args)
    return {
        "rows": rows,
        "worst_ratio": max(row["ratio"] for row in rows),
        "flatness": _flatness(rows),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "gpu": None if device.startswith("cuda") else "not measured: no CUDA device was used",
        "batch": BATCH,
        "layout": args.layout,
        "clock": args.clock,
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
    }


def describe(result: dict[str, Any]) -> str:
    """Return the result as a table in Markdown."""
    heads = ["channels", "side", "regions", "cross-entropy, ms", "ours, ms", "ours / c.-e."]
    heads += ["plain autograd / c.-e.", "dense masks / c.-e."]
    more = [(key, head) for key, head in _MORE.items() if any(key in r for r in result["rows"])]
    heads += [head for _, head in more]
    setting = (
        f"Forward + backward, {result['batch']} images, {result['device']}, {result['clock']} "
        f"time, {result['threads']} thread(s), regions as {result['layout']}; c.-e.: cross-entropy."
    )
    gpu = f"GPU: {result['gpu'] or result['device']}."
    lines = [setting, gpu, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        ratios = [row["ratio"], row.get("ratio_plain"), row.get("ratio_dense")]
        ratios += [row.get(key) for key, _ in more]
        cells = " | ".join("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        lines.append(
            f"| {row['channels']} | {row['size']} | {row['regions']} | "
            f"{row['cross_entropy_ms']:.1f} | {row['ours_ms']:.1f} | {cells} |"
        )
    flat = ", ".join(f"{row['ratio']:.2f}" for row in result["flatness"])
    return "\n".join([*lines, "", f"Most regions against fewest, per channels and side: {flat}."])


def plain_loss(logits: Tensor, regions: RegionIndex, alpha: float = 0.9) -> Tensor:
    """Return log-volume CAS loss as one would write it: vectorised torch, left to autograd."""
    soft = logits.softmax(1).movedim(1, -1).flatten(0, -2)
    index = regions.index.reshape(-1).long()
    painted = index >= 0
    soft, index = soft[painted], index[painted]
    zeros = soft.new_zeros(regions.count.numel(), soft.shape[1])
    size = regions.count[:, None]
    means = zeros.index_add(0, index, soft) / size
    spread = (zeros.index_add(0, index, (soft - means[index]).square()) / size).sum(1)
    return _finish(means, spread, regions, alpha)


def dense_loss(logits: Tensor, regions: RegionIndex, alpha: float = 0.9) -> Tensor:
    """Return the same with one dense mask per region, as published code for such losses does."""
    soft = logits.softmax(1)
    means, spreads = [], []
    for region, size in enumerate(regions.count.tolist()):
        mask = (regions.index == region).unsqueeze(1).to(soft.dtype)
        mean = (soft * mask).flatten(2).sum((0, 2)) / size
        away = (soft - mean.view(1, -1, *[1] * (soft.ndim - 2))) * mask
        means.append(mean)
        spreads.append(away.square().sum() / size)
    return _finish(torch.stack(means), torch.stack(spreads), regions, alpha)


def _finish(means: Tensor, spread: Tensor, regions: RegionIndex, alpha: float) -> Tensor:
    from napari_cas.losses.discriminators import log_volume

    number = torch.bincount(regions.plane)[regions.plane]
    inner = (spread / number).sum() / regions.n_planes
    return alpha * inner + (1 - alpha) * log_volume(means.double(), regions, mean=True).float()


def make_regions(number: int, size: int, layout: str, device: torch.device) -> Tensor:
    """Return (BATCH, size, size) ids 1..number: Voronoi cells of random seeds, or random pixels."""
    draw = torch.Generator().manual_seed(0)
    shape = (BATCH, size, size)
    if layout == "confetti":
        return torch.randint(1, number + 1, shape, generator=draw).to(device)
    seeds = torch.rand(BATCH, number, 2, generator=draw) * size
    line = torch.arange(size, dtype=torch.float32)
    grid = torch.cartesian_prod(line, line)
    nearest = [
        torch.cat([torch.cdist(part, own).argmin(1) for part in torch.split(grid, 65_536)])
        for own in seeds
    ]
    return (torch.stack(nearest).view(shape) + 1).to(device)


def _measure(
    channels: int, size: int, device: torch.device, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return one row per number of regions."""
    torch.manual_seed(0)
    compiled = args.compiled or device.type == "cuda"
    if compiled:
        torch.compiler.reset()  # it gives up on functions of too many shapes
    shape = (BATCH, channels, size, size)
    logits = (2 * torch.randn(shape, device=device)).requires_grad_()
    target = torch.randint(0, channels, (BATCH, size, size), device=device)
    steps: dict[tuple[str, int], Callable[[], Tensor]] = {
        ("cross_entropy", 0): partial(cross_entropy, logits, target)
    }
    for number in args.regions:
        regions = index_regions(make_regions(number, size, args.layout, device))
        steps["ours", number] = partial(cas_loss, logits, regions)
        if args.ours_only:
            continue
        steps["plain", number] = partial(plain_loss, logits, regions)
        if compiled:
            steps["compiled", number] = partial(torch.compile(plain_loss), logits, regions)
        if 12 * logits.numel() * regions.count.numel() <= _DENSE_BYTES:
            steps["dense", number] = partial(dense_loss, logits, regions)
    clock = time.thread_time if args.clock == "cpu" else time.perf_counter
    best = _take_turns(steps, logits, args.turns, clock)
    base = best["cross_entropy", 0]
    rows = []
    for number in args.regions:
        row = {
            "channels": channels,
            "size": size,
            "regions": number,
            "cross_entropy_ms": base * 1e3,
            "ours_ms": best["ours", number] * 1e3,
            "ratio": best["ours", number] / base,
        }
        for form in ("plain", "compiled", "dense"):
            if (form, number) in best:
                row[f"{form}_ms"] = best[form, number] * 1e3
                row[f"ratio_{form}"] = best[form, number] / base
        if logits.is_cuda:
            row["floor_ms"] = _floor(logits, args.turns, clock) * 1e3
            row["floor_share"] = row["floor_ms"] / row["ours_ms"]
            row["extra_mib"] = _extra_bytes(steps["ours", number], logits) / 2**20
        rows.append(row)
    return rows


def _take_turns(
    steps: dict[tuple[str, int], Callable[[], Tensor]],
    logits: Tensor,
    turns: int,
    clock: Callable[[], float],
) -> dict[tuple[str, int], float]:
    """Return the smallest seconds of each step, steps taking turns; the first turn is warm-up."""
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(turns + 1):
        for name, step in steps.items():
            if name[0] == "dense" and turn > 3:  # slow, and no target of ours
                continue
            seconds = _time(step, logits, clock)
            if turn:
                best[name] = min(best[name], seconds)
    return best


def _floor(logits: Tensor, turns: int, clock: Callable[[], float]) -> float:
    """Return the least seconds in which the logits can be read twice and a gradient be written."""
    values, copy = logits.detach(), torch.empty_like(logits)
    return 1.5 * min(_timed(lambda: copy.copy_(values), logits, clock) for _ in range(turns + 1))


def _extra_bytes(step: Callable[[], Tensor], logits: Tensor) -> int:
    """Return the most memory on the GPU that a step needs beside logits and gradient."""
    before = torch.cuda.memory_allocated(logits.device)
    torch.cuda.reset_peak_memory_stats(logits.device)
    torch.autograd.grad(step(), logits)
    peak = torch.cuda.max_memory_allocated(logits.device)
    return peak - before - logits.numel() * logits.element_size()


def _time(step: Callable[[], Tensor], logits: Tensor, clock: Callable[[], float]) -> float:
    """Return the seconds of one forward and backward pass."""
    return _timed(lambda: torch.autograd.grad(step(), logits), logits, clock)


def _timed(work: Callable[[], object], logits: Tensor, clock: Callable[[], float]) -> float:
    """Return the seconds of some work, with what it asks of the device of `logits`."""
    if logits.is_cuda:
        torch.cuda.synchronize(logits.device)
    start = clock()
    work()
    if logits.is_cuda:
        torch.cuda.synchronize(logits.device)
    return clock() - start


def _flatness(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, per channels and size, our time with most regions over that with fewest."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["channels"], row["size"]), []).append(row)
    found = []
    for (channels, size), group in groups.items():
        ordered = sorted(group, key=lambda row: int(row["regions"]))
        ratio = ordered[-1]["ours_ms"] / ordered[0]["ours_ms"]
        found.append({"channels": channels, "size": size, "ratio": ratio})
    return found


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    _parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    add_arguments(_parser)
    _args = _parser.parse_args()
    _result = run(_args)
    print(json.dumps(_result, indent=1) if _args.json else describe(_result))

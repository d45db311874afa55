"""The label-free benchmark as table, CSV and plots."""

from __future__ import annotations

import csv
import json
import statistics
from typing import TYPE_CHECKING, Any

from training.kept import code_digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BASE = {"painted": 12, "length": 0.8}


def summarise(cells: dict[str, Any]) -> dict[str, Any]:
    """Return means and standard deviations over seeds.

    Returns
    -------
    dict
        ``table`` by set, ``curves`` by set with a list of points; each has, by method, ``ari`` and
        ``miou`` as [mean, deviation], and the number of ``seeds``.
    """
    groups: dict[tuple[str, int, float], list[dict[str, Any]]] = {}
    for cell in cells.values():
        groups.setdefault((cell["set"], cell["painted"], cell["length"]), []).append(cell)
    table: dict[str, Any] = {}
    curves: dict[str, list[dict[str, Any]]] = {}
    for (name, painted, length), found in sorted(groups.items()):
        pixels = statistics.fmean(cell["pixels"] for cell in found)
        point: dict[str, Any] = {
            "painted": painted,
            "length": length,
            "pixels": pixels,
            "seeds": len(found),
        }
        point["methods"] = {m: _spread(c["methods"][m] for c in found) for m in found[0]["methods"]}
        curves.setdefault(name, []).append(point)
        if length == _BASE["length"] and painted in (1, _BASE["painted"]):
            table[name] = point  # sorted: 12 painted images replace 1 where there are both
    return {"table": table, "curves": {k: v for k, v in curves.items() if len(v) > 1}}


def _spread(rows: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    """Return [mean, standard deviation] of each score."""
    listed = list(rows)
    return {
        key: [
            statistics.fmean(row[key] for row in listed),
            statistics.stdev([row[key] for row in listed]) if len(listed) > 1 else 0.0,
        ]
        for key in listed[0]
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = []
    for score, title in (("ari", "Adjusted Rand index"), ("miou", "Matched mean IoU")):
        rows = {k: v for k, v in result["table"].items() if score in v["methods"]["ours"]}
        if not rows:
            continue
        methods = list(next(iter(rows.values()))["methods"])
        lines += ["", f"{title}, mean ± standard deviation over seeds", ""]
        names = " | ".join(methods)
        lines.append(f"| set | seeds | painted images | pixels each | {names} | margin |")
        lines.append("|---|---|---|---|" + "---|" * (len(methods) + 1))
        for name, point in rows.items():
            means = {m: point["methods"][m][score] for m in methods}
            rivals = [mean for m, (mean, _) in means.items() if m.endswith(", true")]
            shown = " | ".join(_cell(mean, sd, point["seeds"]) for mean, sd in means.values())
            margin = means["ours"][0] - max(rivals)
            start = f"| {name} | {point['seeds']} | {point['painted']} | {point['pixels']:.0f} |"
            lines.append(f"{start} {shown} | {margin:+.3f} |")
    lines += ["", "Margin: ours, from shuffled ids, over the best method given the true ids."]
    return "\n".join(lines).lstrip()


def _cell(mean: float, deviation: float, seeds: int) -> str:
    """Return a table's cell; one seed has no deviation."""
    return f"{mean:.3f} ± {deviation:.3f}" if seeds > 1 else f"{mean:.3f}"


def write(result: dict[str, Any], folder: Path) -> None:
    """Write JSON, CSV, Markdown and plots."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    # Renamed when complete: an interrupted run goes on from this file.
    draft = folder / "label_free.json.part"
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(folder / "label_free.json")
    _write_csv(result, folder / "label_free.csv")
    machine = ", ".join(f"{k} {v}" for k, v in result["machine"].items())
    made = " ".join(made_by(result["cells"]))
    head = f"# Label-free learning across images\n\n{made}\n\nMachine: {machine}.\n\n"
    plots = [f"![{name}]({_plot_name(name)})" for name in result["curves"]]
    body = head + markdown(result) + "\n\n" + "\n".join(plots) + "\n"
    (folder / "label_free.md").write_text(body, encoding="utf-8")
    for name, points in result["curves"].items():
        plot(name, points, folder / _plot_name(name))


def made_by(cells: dict[str, Any]) -> list[str]:
    """Return by which commands experiments were made, and how many of them by other code."""
    known = [cell["command"] for cell in cells.values() if "command" in cell]
    unsaid, other = len(cells) - len(known), outdated_cells(cells)
    lines = [f"Made by {', '.join(f'`{words}`' for words in dict.fromkeys(known))}."] * bool(known)
    if unsaid:
        lines.append(f"{unsaid} of {len(cells)} experiments do not say by which command.")
    if other:
        lines.append(
            f"{other} of {len(cells)} experiments were made by an earlier state of the code; "
            "without label_free.json they are made again."
        )
    return lines


def outdated_cells(cells: dict[str, Any]) -> int:
    """Return how many experiments were made by other code, or do not say."""
    return sum(cell.get("code") != code_digest() for cell in cells.values())


def _plot_name(name: str) -> str:
    return f"label_free_{name.replace(':', '_')}.png"


def _write_csv(result: dict[str, Any], path: Path) -> None:
    """Write one row per experiment and method."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["set", "painted", "length", "seed", "pixels", "method", "ari", "miou"])
        for cell in result["cells"].values():
            start = [cell[k] for k in ("set", "painted", "length", "seed", "pixels")]
            for method, scores in cell["methods"].items():
                rows.writerow([*start, method, scores["ari"], scores.get("miou", "")])


def plot(name: str, points: list[dict[str, Any]], path: Path) -> None:
    """Draw the adjusted Rand index against painted images and against painted pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    by_images = [p for p in points if p["length"] == _BASE["length"]]
    by_pixels = sorted(
        (p for p in points if p["painted"] == _BASE["painted"]), key=lambda p: p["pixels"]
    )
    for axis, chosen, key in ((axes[0], by_images, "painted"), (axes[1], by_pixels, "pixels")):
        for number, method in enumerate(points[0]["methods"]):
            at = [p[key] for p in chosen]
            mean = [p["methods"][method]["ari"][0] for p in chosen]
            spread = [p["methods"][method]["ari"][1] for p in chosen]
            axis.errorbar(at, mean, spread, label=method, capsize=2, **_style(number, method))
        axis.set_xscale("log")
        axis.set_xticks(at, [f"{value:.0f}" for value in at])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3)
    axes[0].set(xlabel="painted images", ylabel="adjusted Rand index", title=name)
    axes[1].set(xlabel="painted pixels per image", title=f"{_BASE['painted']} images")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _style(number: int, method: str) -> dict[str, Any]:
    """Return ours thick, true ids solid, shuffled ids dotted; one colour a method."""
    if method == "ours":
        return {"color": "black", "linewidth": 2.5, "marker": "o"}
    colour = ("#0072B2", "#D55E00", "#009E73")[(number - 1) % 3]
    line = "-" if method.endswith("true") else ":"
    return {"color": colour, "linestyle": line, "marker": "."}

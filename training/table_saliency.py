"""Tables 1, 2, 3 and 7 of the paper: which runs they need, and their rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from training import published
from training.kept import outdated
from training.report import NO_DATA, NO_GPU, Cell, Column, Table, spread
from training.saliency.recipe import (
    LOSS_TITLES,
    LossName,
    Recipe,
    paper_recipe,
    small_recipe,
)
from training.saliency.runs import Place, TestSet, chance_scores, missing, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.data.saliency import SaliencySet

SMALL_TESTS = (TestSet("ECSSD"), TestSet("DUTS-TE", 1000))
PAPER_TESTS = tuple(TestSet(name) for name in published.SALIENCY_TESTS)
SMALL_FLIPS = (0.0, 0.1, 0.3, 0.5)
COMPARED: tuple[LossName, ...] = ("cas", "cross_entropy", "cace")
"""The losses of Table 3."""
_MORE: dict[LossName, dict[str, object]] = {
    name: {"channels": 8} for name in ("discriminative", "triplet", "magnet")
}
"""Embeddings need more than two dimensions."""
LOSSES: dict[str, dict[str, object]] = {
    **{title: {"loss": loss, **_MORE.get(loss, {})} for loss, title in LOSS_TITLES.items()},
    "CAS, log-volume, α = 0.9": {"loss": "cas", "discriminator": "log_volume", "alpha": 0.9},
}
"""The losses of Tables 1 and 2."""
SCORES = (
    ("f", "F_β"), ("max_f", "max F"), ("mae", "MAE of S"), ("mae_binary", "MAE of B"),
    ("f_uncapped", ""),
)  # fmt: skip

ENOUGH = 1800
"""Images that a small table trains on and holds out together."""

READING = (
    (
        "F_β (β² = 0.3) of B = (S ≥ T), T = 2·mean(S) but at most 0.5; max F is the maximum over "
        "256 thresholds of the mean curve; MAE is given of S and of B. Means over images; ± is the "
        "standard deviation over seeds. The CSV file also has F_β with T capped at 1 only."
    ),
    (
        "Ids are exchanged for exactly the share p of the training images, chosen by the seed; the "
        "list lies with each run. The salient channel is the one that correlates best with the "
        "ground truth of held-out training images, 300 where there are enough; nothing was chosen "
        "on a test set."
    ),
    (
        "Paper: only figures that are at hand are shown, – where none is; they are of "
        "FCN-ResNet101 (trained on MSRA-B for p = 0.5, on DUTS-TR for p = 0)."
    ),
)
"""What has to be known to read any of these tables."""


@dataclass(frozen=True)
class Line:
    """One row: how it is called and the settings of its runs; seeds come on top."""

    method: str
    settings: Mapping[str, object]
    paper: Mapping[str, published.Saliency]


@dataclass(frozen=True)
class Plan:
    """A table before its runs."""

    name: str
    title: str
    lines: Sequence[Line]
    tests: Sequence[TestSet]
    small: bool
    budget: Mapping[str, object] = field(default_factory=dict)

    def recipes(self, line: Line, seeds: int, common: Mapping[str, object]) -> list[Recipe]:
        """Return a row's recipes, one per seed."""
        make = small_recipe if self.small else paper_recipe
        return [
            make(**{**self.budget, **common, **line.settings, "seed": seed})
            for seed in range(seeds)
        ]


def plan(
    number: int, *, small: bool, train: SaliencySet | None = None, tests: Sequence[TestSet] = ()
) -> Plan:
    """Return the plan of Table 1, 2, 3 or 7.

    Parameters
    ----------
    number : int
        Of the paper's table.
    small : bool
        On two CPU cores, at reduced size, instead of as in the paper.
    train : SaliencySet, optional
        Train on this set instead of the table's.
    tests : sequence of TestSet, optional
        Test on these sets instead of the table's.
    """
    title, lines = {1: _table1, 2: _table2, 3: _table3, 7: _table7}[number](small=small)
    size = "small scale, two CPU cores" if small else "as in the paper"
    name = f"table{number}-small" if small else f"table{number}"
    if train is not None or tests:  # not to be taken for the table itself
        name += "-own"
        size += ", on sets of one's own choice"
    budget: dict[str, object] = {}
    if train is not None:
        lines = _trained_on(train, lines)
        if train.count < ENOUGH:  # hold out a fifth and train on the rest
            budget = {"train_images": None, "validation_images": min(max(train.count // 5, 2), 300)}
    tests = tests or (SMALL_TESTS if small else PAPER_TESTS)
    return Plan(name, f"Table {number}: {title} ({size})", lines, tests, small, budget)


def _trained_on(train: SaliencySet, lines: Sequence[Line]) -> list[Line]:
    """Return the lines trained on another set, each once; the paper's figures are not of it."""
    kept: dict[str, Line] = {}
    for line in lines:
        changed = Line(line.method, {**line.settings, "train_set": train.name}, {})
        kept.setdefault(repr(changed), changed)
    return list(kept.values())


def _networks(*, small: bool) -> list[dict[str, object]]:
    """Return train set and network of the blocks of Tables 1 and 2."""
    if small:
        return [{}]
    return [
        {"train_set": train_set, "network": network}
        for train_set in ("MSRA-B", "DUTS-TR")
        for network in ("fcn_resnet101", "deeplabv3_resnet101")
    ]


def _table1(*, small: bool) -> tuple[str, list[Line]]:
    lines = []
    for block in _networks(small=small):
        for title, settings in LOSSES.items():
            paper = _paper(published.LOW_FIDELITY, block, title)
            lines.append(Line(title, {**block, **settings, "flip": 0.5}, paper))
    return "labels of low fidelity, the ids of half of the images exchanged", lines


def _table2(*, small: bool) -> tuple[str, list[Line]]:
    lines = []
    for block in _networks(small=small):
        for title, settings in LOSSES.items():
            paper = _paper(published.HIGH_FIDELITY, block, title)
            lines.append(Line(title, {**block, **settings, "flip": 0.0}, paper))
        epochs = {"epochs": 3, "pre_epochs": 3} if small else {"epochs": 15, "pre_epochs": 15}
        lines.append(Line("pre-CAS", {**block, "loss": "cas", "flip": 0.0, **epochs}, {}))
    return "labels of high fidelity", lines


def _table3(*, small: bool) -> tuple[str, list[Line]]:
    flips = SMALL_FLIPS if small else published.FLIPS
    lines = [
        Line(
            LOSS_TITLES[loss],
            {"loss": loss, "flip": flip},
            published.LOW_FIDELITY if (loss, flip) == ("cas", 0.5) else {},
        )
        for loss in COMPARED
        for flip in flips
    ]
    return "the share p of images whose ids are exchanged", lines


def _table7(*, small: bool) -> tuple[str, list[Line]]:  # noqa: ARG001  # the same at any size
    lines = [
        Line(f"α = {alpha:g}", {"loss": "cas", "flip": 0.5, "alpha": alpha}, {})
        for alpha in published.ALPHAS
    ]
    return "the weight α of the uniformer, p = 0.5", lines


def _paper(
    figures: Mapping[str, published.Saliency], block: Mapping[str, object], title: str
) -> Mapping[str, published.Saliency]:
    """Return the paper's figures for a row: those of ResNet-CAS, on the set it was trained on."""
    trained_on = "MSRA-B" if figures is published.LOW_FIDELITY else "DUTS-TR"
    same = block.get("train_set", trained_on) == trained_on
    same = same and block.get("network", "fcn_resnet101") == "fcn_resnet101"
    return figures if title == LOSS_TITLES["cas"] and same else {}


def build(
    wanted: Plan, place: Place, *, seeds: int, common: Mapping[str, object], gpu_needed: bool
) -> tuple[Table, dict[str, Any]]:
    """Do the runs of a plan and return its table and all scores.

    Parameters
    ----------
    wanted : Plan
        What to run.
    place : Place
        Data, caches, device.
    seeds : int
        Runs per row, with seeds 0, 1, ….
    common : mapping
        Settings of all rows, such as the precision.
    gpu_needed : bool
        Run nothing; the rows say so.

    Returns
    -------
    Table
        With a row per line of the plan.
    dict
        Of every row: its scores per test set and seed, and the runs' records.
    """
    absent = missing([t.name for t in wanted.tests], place)
    present = [t for t in wanted.tests if t.name not in absent]
    table = Table(wanted.name, wanted.title, _columns(wanted.tests))
    found: dict[str, Any] = {"runs": []}
    for line in wanted.lines:
        recipes = wanted.recipes(line, seeds, common)
        first = recipes[0]
        row: dict[str, Cell] = {
            "method": line.method,
            "flip": f"{first.flip:g}", "train": first.train_set, "network": first.network,
            "seeds": str(seeds),
        }  # fmt: skip
        absent_data = not present or missing([first.train_set], place)
        why = NO_DATA if absent_data else NO_GPU if gpu_needed else ""
        done = [] if why else [run(recipe, present, place) for recipe in recipes]
        found["runs"] += done
        for test in wanted.tests:
            row |= _cells(test, done, why or NO_DATA, line.paper.get(test.name))
        table.rows.append(row)
        place.say(f"{wanted.name}: {row['method']}, p = {row['flip']}: done")
    if wanted.small and found["runs"]:
        found["chance"] = place.team.from_leader(
            lambda: chance_scores(small_recipe(), present, place)
        )
    return table, found


def _columns(tests: Sequence[TestSet]) -> list[Column]:
    columns = [
        Column("method", "loss"), Column("flip", "p"), Column("train", "trained on"),
        Column("network", "network"), Column("seeds", ""),
    ]  # fmt: skip
    for test in tests:
        for key, title in SCORES:
            columns.append(Column(f"{test.name} {key}", f"{test.title}: {title}" if title else ""))
        columns.append(Column(f"{test.name} paper", f"{test.name}, paper: F_β / MAE"))
    return columns


def _cells(
    test: TestSet, done: Sequence[dict[str, Any]], why: str, paper: published.Saliency | None
) -> dict[str, Cell]:
    """Return the cells of one test set."""
    cells: dict[str, Cell] = {f"{test.name} {key}": None for key, _ in SCORES}
    scores = [r["scores"][test.title] for r in done if test.title in r["scores"]]
    if scores:
        for key, _ in SCORES:
            cells[f"{test.name} {key}"] = spread([s[key] for s in scores])
    else:
        cells[f"{test.name} f"] = why
    cells[f"{test.name} paper"] = None if paper is None else f"{paper.f:.3f} / {paper.mae:.3f}"
    return cells


def mean_score(
    runs: Sequence[dict[str, Any]], test: TestSet, key: str, **settings: object
) -> list[float]:
    """Return a score of every run whose recipe has these settings."""
    return [
        float(r["scores"][test.title][key])
        for r in runs
        if all(r["recipe"][name] == value for name, value in settings.items())
    ]


def notes(wanted: Plan, found: Mapping[str, Any]) -> list[str]:
    """Return what has to be known to read a table."""
    runs = found["runs"]
    lines = list(READING)
    if wanted.small and runs:
        lines.append(_scale(runs[0]["recipe"], runs[0]["record"]["train_images"]))
    for name, chance in found.get("chance", {}).items():
        lines.append(
            f"Knowing nothing, on {name}: F_β {chance['f']:.3f} by calling every pixel salient; "
            f"MAE of S {chance['mae']:.2f} by saying one half everywhere."
        )
    if runs:
        records = [r["record"] for r in runs]
        cpu = sum(r["cpu_seconds"] for r in records)
        rate = fmean(r["images_per_second"] for r in records)
        wait = sum(r["wait_seconds"] for r in records) / sum(r["seconds"] for r in records)
        lines.append(
            f"{len(runs)} runs on {records[0]['device']}, torch {records[0]['torch']}, "
            f"{records[0]['threads']} threads; training took {cpu / 60:.1f} CPU minutes, "
            f"{rate:.0f} images/s, {100 * wait:.1f} % of it waiting for data."
        )
        lines += outdated(records)
    return lines


def _scale(recipe: Mapping[str, Any], images: int) -> str:
    """Say what the small tables are made with."""
    known = " EfficientNet was trained on ImageNet, which DUTS's images come from."
    return (
        f"A light decoder (53,000 weights) on frozen EfficientNet-Lite0 features, {images:,} "
        f"images of {recipe['train_set']}, {recipe['epochs']} epochs of {recipe['batch_size']} "
        f"images a step, Adam at {recipe['learning_rate']:g}, Eq. 1 with α = 0.1, M = 2 where a "
        "row does not say otherwise: a scaled-down check of the claim, not a reproduction of the "
        "figures." + (known if recipe["train_set"].startswith("DUTS") else "")
    )

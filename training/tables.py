"""``python -m training table N``: the paper's tables from the data and the machine at hand.

Every run is kept, so an interrupted table goes on where it was, and a second one that needs the
same runs reads their scores.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cas.errors import ConfigError
from training.data.store import cache_folder
from training.machine import describe_machine
from training.options import count, device

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator

    from training.report import Table
    from training.saliency.runs import Place
    from training.saliency.team import Team

NUMBERS = (1, 2, 3, 4, 5, 6, 7)
_SALIENCY = (1, 2, 3, 7)
_RECIPE_OPTIONS = (
    "network", "weights", "epochs", "batch_size", "learning_rate", "train_images",
    "validation_images", "size",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("number", type=int, choices=NUMBERS, help="number of the paper's table")
    add("--small", action="store_true", help="scaled down to two CPU cores; what a table takes "
        "differs, from minutes to over an hour, and stands below the table")  # fmt: skip
    add("--seeds", type=count, help="runs per row (default: 3 small, 1 otherwise)")
    add("--results", type=Path, default=Path("docs/results"), help="where the table is written")
    add("--train", metavar="SET", help="train Tables 1, 2, 3 and 7 on this set instead: a "
        "published name, or a folder or zip of images/ and masks/ of the same names")  # fmt: skip
    add("--test", metavar="SET", nargs="+", default=[], help="test on these sets instead")
    add("--data", type=Path, help="folder of the data sets (default: NAPARI_CAS_DATA)")
    add("--cache", type=Path, help="decoded sets, features and runs (default: NAPARI_CAS_CACHE)")
    add("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:1, …; auto runs small "
        "tables on the CPU, and others on a GPU or not at all; under torchrun each process takes a "
        "GPU")  # fmt: skip
    add("--threads", type=count, default=2, help="torch's CPU threads")
    add("--precision", choices=("float32", "bf16"), help="bf16: under autocast")
    add("--channels-last", action="store_true", help="memory format of the network")
    add("--compile", action="store_true", help="torch.compile the network")
    add("--deterministic", action="store_true", help="deterministic kernels where torch has them")
    add("--tensorboard", action="store_true", help="write TensorBoard events beside the CSV logs")
    add_recipe_options(parser)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Declare options that override a recipe's settings."""
    for name in _RECIPE_OPTIONS:
        kind = {"network": str, "weights": str, "learning_rate": float}.get(name, int)
        words = name.replace("_", " ")
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=f"override the recipe's {words}"
        )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make a table; return its rows, notes and what it was made on.

    Raises
    ------
    ConfigError
        For a setting that is no setting of a recipe, or processes that cannot work together.
    """
    import torch

    from training.saliency.team import assembled

    torch.set_num_threads(args.threads)
    wanted, gpu_needed = _device(args)
    with assembled(wanted) as (team, device):
        return _make(args, _place(args, device, team), gpu_needed=gpu_needed)


def _make(args: argparse.Namespace, place: Place, *, gpu_needed: bool) -> dict[str, Any]:
    """Make a table; the leader of several processes writes it."""
    begun = time.perf_counter()
    seeds = args.seeds or (3 if args.small else 1)
    if args.number in _SALIENCY:
        table, runs = _saliency(args, place, seeds, gpu_needed=gpu_needed)
    elif args.train or args.test:
        raise ConfigError(
            "This table has a set of its own", got=f"--train or --test with Table {args.number}",
            expected="them with Table 1, 2, 3 or 7",
        )  # fmt: skip
    elif given := _common(args):
        raise own_recipes(f"Table {args.number}", given)
    elif place.team.size > 1:
        raise ConfigError(
            "This table is made by one process", expected="no torchrun",
            got=f"{place.team.size} processes",
        )  # fmt: skip
    else:
        from training.table_regions import build

        table, runs = build(args.number, place, seeds=seeds, gpu_needed=gpu_needed)
    machine = describe_machine()
    seconds = time.perf_counter() - begun
    table.notes.append(
        f"Made by `{_command(args)}` on {machine['processor']} ({machine['cores']} cores, load "
        f"{machine.get('load', '?')}) in {seconds / 60:.1f} minutes, runs made before not counted."
    )
    if runs or not (args.results / f"{table.name}.md").exists():
        if place.team.leads:
            table.write(args.results)
    else:  # measured elsewhere, maybe, and worth more than rows that say what is missing
        place.say(f"Nothing was run: {table.name} in {args.results} is left as it is.")
    return {
        "table": table.name, "title": table.title,
        "markdown": table.markdown() if place.team.leads else "",
        "rows": table.rows, "machine": machine, "seconds": seconds, "runs": runs,
    }  # fmt: skip


def describe(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    return str(result["markdown"])


def _saliency(
    args: argparse.Namespace, place: Place, seeds: int, *, gpu_needed: bool
) -> tuple[Table, list[dict[str, Any]]]:
    from training.figures import plot_alphas, plot_flips
    from training.saliency.runs import TestSet, own_set
    from training.table_saliency import build, notes, plan

    train = own_set(args.train, place) if args.train else None
    tests = [TestSet(own_set(name, place).name) for name in args.test]
    wanted = plan(args.number, small=args.small, train=train, tests=tests)
    with naming_settings():
        table, found = build(
            wanted, place, seeds=seeds, common=_common(args), gpu_needed=gpu_needed
        )
    table.notes += notes(wanted, found)
    draw = {3: plot_flips, 7: plot_alphas}.get(args.number)
    if draw is not None and found["runs"] and place.team.leads:
        table.picture = f"{table.name}.png"
        draw(wanted, found, args.results / table.picture)
    return table, found["runs"]


def _device(args: argparse.Namespace) -> tuple[str, bool]:
    """Return the device wanted, and whether this table needs a GPU that is not there."""
    import torch

    if args.device != "auto":
        return args.device, False
    # A frozen small network is bound by the CPU's cache, and its figures should not depend on
    # where they are made.
    if args.small:
        return "cpu", False
    return ("cuda", False) if torch.cuda.is_available() else ("cpu", True)


def _place(args: argparse.Namespace, device: str, team: Team) -> Place:
    """Return where to work, with whom; only the leader speaks."""
    from training.saliency.runs import Place

    def say(line: str) -> None:
        if team.leads:
            print(line, file=sys.stderr, flush=True)

    return Place(
        data=args.data, cache=args.cache or cache_folder(), device=device, say=say,
        tensorboard=args.tensorboard, team=team, small=args.small,
    )  # fmt: skip


def recipe_options(args: argparse.Namespace) -> dict[str, object]:
    """Return the recipe's settings that were given as options."""
    given = {name: getattr(args, name) for name in _RECIPE_OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def own_recipes(what: str, given: Collection[str]) -> ConfigError:
    """Return the error for settings of a recipe with `what` does not take them."""
    return ConfigError(
        f"{what} has recipes of its own",
        expected="settings of a recipe with Tables 1, 2, 3 and 7 and Figures 1 and 2",
        got=", ".join(f"--{name.replace('_', '-')}" for name in given),
    )


@contextmanager
def naming_settings() -> Iterator[None]:
    """Say which option of the command is no setting of a recipe.

    Raises
    ------
    ConfigError
        Instead of pydantic's error.
    """
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + "-".join(map(str, first["loc"])).replace("_", "-")
        wanted = str(first["msg"]).removeprefix("Input should be ")
        raise ConfigError(f"{option} cannot be {first['input']}", expected=wanted) from error


def _common(args: argparse.Namespace) -> dict[str, object]:
    """Return the settings of all recipes that were given as options."""
    given: dict[str, object] = {"precision": args.precision}
    for name in ("channels_last", "compile", "deterministic"):
        given[name] = getattr(args, name) or None
    given = {name: value for name, value in given.items() if value is not None}
    return given | recipe_options(args)


def _command(args: argparse.Namespace) -> str:
    words = ["python -m training table", str(args.number)]
    words += ["--small"] if args.small else []
    words += [f"--seeds {args.seeds}"] if args.seeds else []
    words += [f"--train {Path(args.train).name}"] if args.train else []
    words += [f"--test {' '.join(Path(name).name for name in args.test)}"] if args.test else []
    words += [f"--{k.replace('_', '-')} {v}" for k, v in _common(args).items()]
    return " ".join(words)

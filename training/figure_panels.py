"""``python -m training figure N``: the paper's qualitative figures as pictures.

1: saliency maps from labels of low fidelity. 2: from labels of high fidelity. 3: partitions of the
Real-World Texture Dataset. The networks are those of the tables, trained first where they were not.
The pictures show images of the data sets, whose owners state no license: they are for looking at,
not for publishing, and are written outside the repository unless a folder is named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.store import cache_folder
from training.figures import panel
from training.options import count, device
from training.saliency.readout import saliency_maps
from training.saliency.recipe import LOSS_TITLES, paper_recipe, small_recipe
from training.saliency.runs import Place, TestSet, open_run, own_set, test_examples
from training.table_saliency import COMPARED
from training.tables import add_recipe_options, naming_settings, own_recipes, recipe_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

FLIPS = {1: 0.5, 2: 0.0}
"""Share of exchanged ids of the saliency figures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("number", type=int, choices=(1, 2, 3), help="number of the paper's figure")
    add("--small", action="store_true", help="with the networks of the small tables")
    add("--rows", type=count, default=6, help="pictures shown, drawn by a fixed seed")
    add("--test-set", default="ECSSD", help="saliency set the pictures come from: a published "
        "name, or a folder or zip of images/ and masks/")  # fmt: skip
    add("--results", type=Path, help="folder of the figure (default: beside the caches)")
    add("--data", type=Path, help="folder of the data sets (default: NAPARI_CAS_DATA)")
    add("--cache", type=Path, help="decoded sets, features and runs (default: NAPARI_CAS_CACHE)")
    add("--device", type=device, default="cpu", help="cpu, cuda, cuda:1, …")
    add("--threads", type=count, default=2, help="torch's CPU threads")
    add_recipe_options(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write the figure; return where it is and what it shows.

    Raises
    ------
    ConfigError
        For a setting that is no setting of a recipe, or of Figure 3, which has its own.
    """
    import torch

    torch.set_num_threads(args.threads)
    cache = args.cache or cache_folder()
    place = Place(
        args.data, cache, args.device, lambda line: print(line, file=sys.stderr, flush=True)
    )
    file = (args.results or cache / "figures") / f"figure{args.number}.png"
    draw = _textures if args.number == 3 else _saliency
    names = draw(args, place, file)
    return {"figure": args.number, "file": str(file), "pictures": names}


def describe(result: dict[str, Any]) -> str:
    """Return where the figure is."""
    return f"wrote {result['file']}"


def _saliency(args: argparse.Namespace, place: Place, file: Path) -> list[str]:
    make = small_recipe if args.small else paper_recipe
    common = recipe_options(args)
    with naming_settings():
        recipes = [make(**common, loss=loss, flip=FLIPS[args.number]) for loss in COMPARED]
    shown = test_examples(recipes[0], TestSet(own_set(args.test_set, place).name, args.rows), place)
    columns: list[NDArray[Any]] = [shown.pictures.images[shown.rows], shown.pictures.salient()]
    for recipe in recipes:
        trained, reader = open_run(recipe, place)
        columns.append(saliency_maps(trained, reader, shown, place.device))
    titles = ["image", "truth", *(LOSS_TITLES[loss] for loss in COMPARED)]
    panel([[column[i] for column in columns] for i in range(len(shown))], titles, file)
    return list(shown.pictures.names)


def _textures(args: argparse.Namespace, place: Place, file: Path) -> list[str]:
    if given := recipe_options(args):
        raise own_recipes("Figure 3", given)
    from training.regions import part_of, rwtd_examples
    from training.table_regions import train_regions
    from training.table_rwtd import read, rwtd_recipes

    columns: list[Sequence[NDArray[Any]] | NDArray[Any]] = []
    titles = ["image", "truth"]
    names: list[str] = []
    for method, recipe in rwtd_recipes(small=args.small).items():
        learn, test = rwtd_examples(recipe, place)
        chosen = np.random.default_rng(0).permutation(len(test))[: args.rows]
        shown = part_of(test, chosen)
        if not columns:
            columns = [shown.pictures.images[shown.rows], shown.pictures.salient(shown.rows)]
            names = [test.pictures.names[row] for row in shown.rows]
        trained = train_regions(recipe, learn, place)
        for reading, found in read(trained, shown, place.device).items():
            columns.append(found)
            titles.append(f"{method}\n{reading}".replace(", ", ",\n"))  # columns are narrow
    panel([[column[i] for column in columns] for i in range(len(names))], titles, file)
    return names

"""`python -m training …`: benchmarks, tables, scores and the making of sample data.

Every command is a module with ``add_arguments(parser)`` and ``run(args) -> dict``; it may have
``describe(result) -> str`` for people. Only the module asked for is imported.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cas.errors import CASError
from napari_cas.store.files import storing

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Command:
    """A command: its module and one line of help."""

    module: str
    help: str


COMMANDS: dict[tuple[str, ...], Command] = {
    ("bench", "interactive"): Command(
        "training.bench_interactive",
        "click to first prediction, and its quality, beside scikit-image's random forest",
    ),
    ("bench", "viewer"): Command(
        "training.bench_viewer", "smoothness of napari's window while the worker trains"
    ),
    ("bench", "loss"): Command(
        "training.bench_loss", "time of the loss beside cross-entropy; on a GPU its memory, too"
    ),
    ("bench", "label-free"): Command(
        "training.bench_label_free",
        "learning across images from regions without names, beside methods given the names",
    ),
    ("bench", "robustness"): Command(
        "training.bench_robustness", "what strokes that spill, differ in size or lie do"
    ),
    ("bench", "onward"): Command(
        "training.bench_onward", "going on from image to image, and painting only mistakes"
    ),
    ("bench", "corrections"): Command(
        "training.bench_corrections", "what an annotator who corrects gets after each press"
    ),
    ("bench", "ablation"): Command(
        "training.bench_ablation", "what each part of the label-free learner is worth"
    ),
    ("bench", "scale"): Command(
        "training.bench_scale", "whether the size of an image matters to rounds, memory and speed"
    ),
    ("bench", "objects"): Command(
        "training.bench_objects", "memory and smoothness while huge predictions are split"
    ),
    ("bench", "tiles"): Command(
        "training.bench_tiles", "how far labels of tiles differ from those of one go, by network"
    ),
    ("bench", "soak"): Command(
        "training.bench_soak", "whether many rounds and strokes leave memory and smoothness alone"
    ),
    ("bench", "cluster"): Command(
        "training.bench_cluster", "a project predicted by Dask clusters of 1, 2 and 4 workers"
    ),
    ("bench", "context"): Command(
        "training.bench_context", "what neighbouring planes add on a stack with a ground truth"
    ),
    ("bench", "textures"): Command(
        "training.bench_textures", "how Table 6 reads its channels, chosen on training images alone"
    ),
    ("table",): Command(
        "training.tables", "make one of the paper's tables from the data and machine at hand"
    ),
    ("figure",): Command("training.figure_panels", "draw one of the paper's qualitative figures"),
    ("score",): Command("training.score", "score a folder of maps against a folder of masks"),
    ("samples",): Command("training.samples", "make sample_data/ anew"),
}
"""All commands by the words that call them."""

GROUPS = {"bench": "benchmarks"}


def build_parser(words: Sequence[str]) -> tuple[argparse.ArgumentParser, Command | None]:
    """Return the parser and the command that `words` call; only its options are declared."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__.split("\n")[0])
    levels: dict[tuple[str, ...], argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    levels[()] = parser.add_subparsers(required=True, metavar="COMMAND")
    for group, text in GROUPS.items():
        child = levels[()].add_parser(group, help=text, description=text)
        levels[(group,)] = child.add_subparsers(required=True, metavar="WHAT")
    called: Command | None = None
    for name, command in COMMANDS.items():
        child = levels[name[:-1]].add_parser(name[-1], help=command.help, description=command.help)
        child.add_argument("--json", action="store_true", help="print JSON and nothing else")
        child.add_argument("--out", type=Path, metavar="FILE", help="write the JSON here, too")
        if tuple(words[: len(name)]) == name:
            called = command
            import_module(command.module).add_arguments(child)
    return parser, called


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; return 0, the exit code of a :class:`CASError`, or 130 if interrupted."""
    words = sys.argv[1:] if words is None else words
    try:
        return _run(words)
    except CASError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        kept = " Finished runs are kept: typed again, it goes on." if "table" in words[:1] else ""
        print(f"Interrupted.{kept}", file=sys.stderr)
        return 130


def _run(words: Sequence[str]) -> int:
    parser, command = build_parser(words)
    args = parser.parse_args(words)
    if command is None:  # options between the words of a command
        parser.error("name the command first, then its options")
    module = import_module(command.module)
    if args.out is not None:  # now: a run may take hours
        with storing(args.out):
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.touch()
    result: dict[str, Any] = module.run(args)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    describe = getattr(module, "describe", None)
    print(text if args.json or describe is None else describe(result))
    if args.out is not None:
        with storing(args.out):
            args.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

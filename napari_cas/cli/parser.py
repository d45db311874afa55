"""What can be typed, and the help that teaches it."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from typing import TYPE_CHECKING, NoReturn

from napari_cas.cli import commands, demo, options, predicting
from napari_cas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_ABOUT = """\
Paint regions without naming them; a network learns what tells them apart.

Start with:           napari-cas demo
A project of your own is made in napari (Plugins → napari-cas) or here from image files and maps
of painted regions, in which 0 is unpainted and every other number is one region."""

_EPILOG = """\
examples:
  napari-cas demo                                   a sample, ready to paint (or headless)
  napari-cas fine-tune cells.zarr                   learn from what is painted in a project
  napari-cas predict cells.zarr --all               predict all its images
  napari-cas export cells.zarr cells.ome.zarr       as OME-Zarr, with pyramids
  napari-cas validate cells.ome.zarr
  napari-cas fine-tune a.png b.png --regions a_regions.png b_regions.png --output model
  napari-cas predict --model model new/*.png --output labels

exit codes: 0 done; 1 validate found problems; 2 something given cannot be used;
3 the worker failed; 4 a bug of ours; 130 interrupted; 141 nobody reads the output;
143 ended by SIGTERM. With --json, what was wrong is on stdout as JSON, too.
'napari-cas COMMAND --help' says more about each."""


class Parser(argparse.ArgumentParser):
    """A parser that raises what it refuses, so that it is reported as every other error is."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError.

        Raises
        ------
        InputError
            Always.
        """
        self.print_usage(sys.stderr)
        what = message[:1].upper() + message[1:].rstrip(".")
        raise InputError(what, todo=f"'{self.prog} --help' says what can be typed.")


def build() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="napari-cas",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("napari-cas")
    parser.add_argument("--version", action="version", version=f"napari-cas {version}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    _demo(subparsers)
    _fine_tune(subparsers)
    _predict(subparsers)
    _export(subparsers)
    _validate(subparsers)
    _info(subparsers)
    return parser


def _command(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[..., int],
    summary: str,
    examples: str,
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--json", action="store_true", help="Print a report as JSON; all else goes to stderr."
    )
    parser.add_argument("--quiet", action="store_true", help="Print results and errors only.")
    return parser


def _demo(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "demo",
        demo.run,
        "Try it on a sample: in napari, or headless where there is no display.",
        "  napari-cas demo\n  napari-cas demo --headless --output out --sample nuclei",
    )
    parser.add_argument("--sample", metavar="NAME", help="Which sample; --list names them.")
    parser.add_argument("--list", action="store_true", help="List the samples and stop.")
    parser.add_argument(
        "--headless",
        action="store_true",
        help="Do the whole job with the strokes that come with the sample, without a window.",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Folder for project, picture and export. Default: napari-cas-demo, here.",
    )
    options.add_options(parser)


def _fine_tune(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "fine-tune",
        commands.fine_tune,
        "Learn what tells painted regions apart, from a project or from files.",
        "  napari-cas fine-tune cells.zarr\n"
        "  napari-cas fine-tune images/ --regions maps/ --output model --channels 4\n"
        "  napari-cas fine-tune a.tif --regions a_regions.tif --project a.zarr\n"
        "  napari-cas fine-tune /shared/cells.zarr --scheduler tcp://host:8786 --resources GPU=1",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="A project, or images (files or folders)."
    )
    parser.add_argument(
        "--regions",
        nargs="+",
        metavar="PATH",
        help="Maps of painted regions, named like their images: whole numbers, 0 is unpainted.",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Where the model is written. Until then what is under way is kept beside it, in "
        "DIR.unfinished.zarr: typed again, a command that was interrupted goes on.",
    )
    parser.add_argument("--project", metavar="DIR", help="Keep images and strokes as a project.")
    _axes(parser)
    parser.add_argument(
        "--anew",
        action="store_true",
        help="Begin a new model in a project that has one, which another network needs; the one "
        "before is kept among the project's models.",
    )
    options.add_cluster(parser)
    options.add_options(parser)


def _predict(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "predict",
        predicting.predict,
        "Segment a project's images with its model, or files with a saved one.",
        "  napari-cas predict cells.zarr --all\n"
        "  napari-cas predict cells.zarr --image day2 --output labels --format tiff\n"
        "  napari-cas predict --model model new/*.png --output labels",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="A project, or images (files or folders)."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="All images of the project.")
    which.add_argument(
        "--image",
        action="append",
        metavar="NAME",
        help="This image of the project; may be repeated. Default: the one last selected.",
    )
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="A saved model. Where a project has another one of its own, its images are predicted "
        "beside it, into --output: the project stays as it is.",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Folder for label images, with a note in sources.json of what each was made from. "
        "Until then what is under way with image files is kept beside it, in "
        "DIR.unfinished.zarr: typed again, a command that was interrupted goes on.",
    )
    parser.add_argument(
        "--format", choices=["png", "tiff"], help="Default: png in 2-D, tiff for stacks."
    )
    parser.add_argument(
        "--project", metavar="DIR", help="Keep images and predictions as a project."
    )
    _axes(parser)
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="Write the channel probabilities into the project, too.",
    )
    options.add_cluster(parser)
    options.add_options(parser, predicting=True)


def _axes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--axes",
        metavar="LETTERS",
        help="What the dimensions are, of t, c, z, y and x, such as cyx, of files that do not say "
        "it: .npy, Zarr arrays without names, TIFFs of numbered planes. Default: a guess.",
    )


def _export(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "export",
        commands.export,
        "Write a project as an OME-Zarr 0.5 data set with pyramids.",
        "  napari-cas export cells.zarr cells.ome.zarr\n"
        "  napari-cas export cells.zarr labels.ome.zarr --include regions prediction",
    )
    parser.add_argument("project", metavar="PROJECT")
    parser.add_argument("output", metavar="OUTPUT", help="New directory.")
    parser.add_argument(
        "--include",
        nargs="+",
        choices=["images", "regions", "prediction"],
        default=["images", "regions", "prediction"],
        help="What is written. Default: everything.",
    )
    parser.add_argument(
        "--image", action="append", metavar="NAME", help="This image; may be repeated."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace what is there.")


def _validate(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "validate",
        commands.validate,
        "Check projects and OME-Zarr data sets against the specification.",
        "  napari-cas validate cells.ome.zarr cells.zarr",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH")


def _info(subparsers: argparse._SubParsersAction[Parser]) -> None:
    parser = _command(
        subparsers,
        "info",
        commands.info,
        "Say what is in a project.",
        "  napari-cas info cells.zarr --json",
    )
    parser.add_argument("project", metavar="PROJECT")

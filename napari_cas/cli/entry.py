"""Where the command line begins and ends."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from napari_cas.cli import parser
from napari_cas.cli.console import Console
from napari_cas.errors import CASError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed after the program's name; by default what was really typed.

    Returns
    -------
    int
        0 done; 1 `validate` found problems; else the error's own code; 130 after Ctrl-C.
    """
    arguments = parser.build().parse_args(argv)
    console = Console(as_json=arguments.json, quiet=arguments.quiet)
    try:
        code = int(arguments.run(arguments, console))
        console.finish()
    except CASError as error:
        print(f"napari-cas: {error}", file=sys.stderr)
        details = getattr(error, "details", "")
        if details:
            print(details, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("napari-cas: interrupted; what was finished is kept.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): not our error, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code

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
        0 done; 1 `validate` found problems; else the error's own code; 130 after Ctrl-C. With
        --json, standard output holds one object then, too, which says what was wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console(as_json="--json" in words, quiet="--quiet" in words)
    try:
        arguments = parser.build().parse_args(words)
        console = Console(as_json=arguments.json, quiet=arguments.quiet)  # options may be cut short
        code = int(arguments.run(arguments, console))
        console.finish(code)
    except CASError as error:
        console.problem(str(error))
        details = getattr(error, "details", "")
        if details:
            print(details, file=sys.stderr)
        return console.fail(error, error.exit_code)
    except KeyboardInterrupt:
        console.problem("interrupted; what was finished is kept.")
        return console.fail(CASError("Interrupted; what was finished is kept"), INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (`| head`): not our error, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code

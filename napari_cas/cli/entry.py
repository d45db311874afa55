"""Where the command line begins and ends: whatever happens is said, in JSON where asked for."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from napari_cas.errors import CASError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUG = 4
"""Exit code after an error that is ours."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
UNREAD = 141
"""Exit code where nobody reads the output any more (`| head`), and so the work was ended."""
TERMINATED = 143
"""Exit code after SIGTERM, by which batch systems and service managers end a command."""


_GOING_ON = (["fine-tune"], ["predict"])
"""Commands that find what they had finished."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: whatever Ctrl-C ends tidily, it ends, too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed after the program's name; by default what was really typed.

    Returns
    -------
    int
        0 done; 1 `validate` found problems; else the error's own code; 4 after a bug of ours; 130
        after Ctrl-C, 143 after SIGTERM, 141 where nobody reads what `fine-tune` or `predict` says.
        With --json, standard output holds one object then, too, which says what was wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = any(len(word) > 2 and "--json".startswith(word) for word in words)
    _print_anything()
    try:
        with _terminable():
            return _run(words)
    except CASError as error:
        return _fail(error, error.exit_code, as_json=as_json)
    except KeyboardInterrupt as stopped:
        code = TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED
        return _fail(_stopped(code, words), code, as_json=as_json)
    except BrokenPipeError:
        # The reader has gone (`| head`): not our error, and nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(_stopped(UNREAD, words), UNREAD) if words[:1] in _GOING_ON else 0
    except OSError as error:
        return _fail(_refused(error), InputError.exit_code, as_json=as_json)
    except Exception as error:
        traceback.print_exc()
        return _fail(_bug(error), BUG, as_json=as_json)


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `Terminated` when SIGTERM comes, unless somebody else has a say in that."""
    in_charge = threading.current_thread() is threading.main_thread()
    if not in_charge or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(*_: object) -> None:
    raise Terminated


def _run(words: list[str]) -> int:
    """Do what was typed."""
    # Not above: this takes a second, in which Ctrl-C may be pressed as well.
    from psygnal import EmitLoopError

    from napari_cas.cli import parser
    from napari_cas.cli.console import Console

    arguments = parser.build().parse_args(words)
    with closing(Console(as_json=arguments.json, quiet=arguments.quiet)) as console:
        try:
            code = int(arguments.run(arguments, console))
        except EmitLoopError as error:  # of who listens to the session: a full disk, a closed pipe
            raise error.__cause__ or error from None
        console.finish(code)
    return code


def _print_anything() -> None:
    """Let no sign that the terminal or a file's encoding lacks end the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: CASError, code: int, *, as_json: bool = False) -> int:
    """Print an error, in place of the report, too, if that was asked for; return the code."""
    with suppress(BrokenPipeError):  # `2>&1 | head`
        print(f"napari-cas: {error}", file=sys.stderr)
        if details := getattr(error, "details", ""):
            print(details, file=sys.stderr)
    if as_json:
        fields = {name: getattr(error, name) for name in ("what", "expected", "got", "todo")}
        with suppress(OSError):  # the error may be that nothing can be written there
            print(json.dumps({"error": fields, "exit_code": code}, indent=2), flush=True)
    return code


def _stopped(code: int, words: list[str]) -> CASError:
    """Return what is said when a command was ended before it was done."""
    ways = {TERMINATED: "Terminated", UNREAD: "Nobody reads the output any more"}
    what = ways.get(code, "Interrupted")
    if words[:1] not in _GOING_ON:
        return CASError(what)
    todo = "Typed again, the same command goes on from there."
    return CASError(f"{what}; what was finished is kept", todo=todo)


def _refused(error: OSError) -> CASError:
    """Return the typed error of a place that may not be looked at, or cannot be."""
    where = f"{error.filename} cannot be used" if error.filename else "The system refuses"
    return InputError(where, got=error.strerror or type(error).__name__)


def _bug(error: Exception) -> CASError:
    """Return what is said of an error that nobody expected."""
    last = traceback.format_exception_only(error)[-1].strip()
    return CASError(
        f"napari-cas failed with {last}",
        todo="This is a bug; please report it with the lines above. What was finished is kept.",
    )

"""However a command ends, it says so, and with --json in JSON."""

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from napari_cas.cli import commands, main
from napari_cas.errors import StorageError
from napari_cas.session import Message, Session


def python(*words, **environment):
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def test_ctrl_c_while_the_program_starts_is_no_traceback(monkeypatch, capsys):
    def interrupt(name):
        raise KeyboardInterrupt

    starting = types.ModuleType("napari_cas.cli.console")
    starting.__getattr__ = interrupt
    monkeypatch.setitem(sys.modules, starting.__name__, starting)
    assert main(["info", "p.zarr", "--json"]) == 130
    out, err = capsys.readouterr()
    assert "Interrupted" in json.loads(out)["error"]["what"]
    assert err == "napari-cas: Interrupted.\n"
    assert main(["predict", "p.zarr"]) == 130
    assert capsys.readouterr().err.endswith("Typed again, the same command goes on from there.\n")


def test_what_takes_long_to_import_waits_until_errors_are_caught():
    done = python("-c", "import sys, napari_cas.cli; print(*sys.modules)")
    assert not {"numpy", "zarr", "pydantic", "tqdm"} & set(done.stdout.split()), done.stderr


def test_an_error_of_ours_is_said_to_be_one(monkeypatch, capsys):
    def fail(arguments, console):
        console.bar(1, 2, "Half")
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(commands, "info", fail)
    assert main(["info", "p.zarr", "--js"]) == 4
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["exit_code"] == 4
    assert "ZeroDivisionError: of ours" in told["error"]["what"]
    assert "report it" in told["error"]["todo"]
    assert "Traceback" in err


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "a" * 300, "--model", "m", "--output", "o"],
        ["fine-tune", "a" * 300, "--regions", "m.png", "--output", "o"],
        ["info", "a" * 300],
        ["demo", "--headless", "--output", "a" * 300],
    ],
)
def test_a_place_that_cannot_be_looked_at_is_no_bug(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)["error"]
    assert "aaaa" in told["what"] or "aaaa" in told["got"]
    assert "Traceback" not in err


def test_an_encoding_that_lacks_a_sign_ends_nothing():
    done = python("-m", "napari_cas", "--help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u2192" in done.stdout


@pytest.mark.parametrize(
    ("command", "raised", "code", "words"),
    [
        ("fine_tune", BrokenPipeError(32, "Broken pipe"), 141, "reads the output any more; what"),
        ("info", BrokenPipeError(32, "Broken pipe"), 0, ""),
        ("info", OSError(28, "No space left on device"), 2, "No space left"),
        ("info", StorageError("Could not write note"), 2, "Could not write note"),
    ],
)
def test_what_a_listener_raises_is_no_bug(monkeypatch, capfd, command, raised, code, words):
    """A session's signals wrap what is raised while they are heard."""

    def listens(arguments, console):
        session = Session()
        session.messaged.connect(fail)
        session.messaged.emit(Message("info", "Hear."))

    def fail(message):
        raise raised

    monkeypatch.setattr(commands, command, listens)
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        assert main([command.replace("_", "-"), "p.zarr"]) == code
    err = capfd.readouterr().err
    assert words in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_report_that_cannot_be_written_ends_with_2():
    command = f"{sys.executable} -m napari_cas demo --list --json > /dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_without_a_console_runs_commands_too(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["demo", "--list"]) == 0
    assert main(["info", "nowhere.zarr", "--json"]) == 2

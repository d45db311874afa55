"""`python -m training`: commands, their options, output and exit codes."""

from __future__ import annotations

import json

import pytest

from training import __main__ as main_module
from training.__main__ import COMMANDS, Command, build_parser, main

ECHO = """
from napari_cas.errors import ImageError
def add_arguments(parser):
    parser.add_argument("--number", type=int, default=1)
def run(args):
    if args.number == -130:
        raise KeyboardInterrupt
    if args.number < 0:
        raise ImageError("Negative", got=str(args.number))
    return {"number": args.number}
def describe(result):
    return f"The number is {result['number']}."
"""


@pytest.fixture
def echo(tmp_path, monkeypatch):
    (tmp_path / "echo_command.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(main_module.COMMANDS, ("bench", "echo"), Command("echo_command", "echo"))


@pytest.mark.usefixtures("echo")
def test_people_get_words_and_machines_json(capsys, tmp_path):
    assert main(["bench", "echo", "--number", "7"]) == 0
    assert capsys.readouterr().out == "The number is 7.\n"
    out = tmp_path / "results" / "echo.json"
    assert main(["bench", "echo", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text()) == {"number": 1}


@pytest.mark.usefixtures("echo")
def test_our_errors_become_a_sentence_and_an_exit_code(capsys):
    assert main(["bench", "echo", "--number", "-1"]) == 2
    assert capsys.readouterr().err == "error: Negative: got -1.\n"


@pytest.mark.usefixtures("echo")
def test_a_file_that_cannot_be_written_is_said_before_the_work(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "echo.json"
    assert main(["bench", "echo", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "file is a file, not a folder" in said.err


@pytest.mark.usefixtures("echo")
def test_ctrl_c_is_said_and_of_a_table_that_it_goes_on(capsys, monkeypatch):
    assert main(["bench", "echo", "--number", "-130"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    monkeypatch.setitem(main_module.COMMANDS, ("table",), Command("echo_command", "echo"))
    assert main(["table", "--number", "-130"]) == 130
    assert "typed again, it goes on" in capsys.readouterr().err


@pytest.mark.usefixtures("echo")
def test_only_the_command_called_is_imported(monkeypatch):
    monkeypatch.setitem(main_module.COMMANDS, ("other",), Command("no_such_module", "other"))
    assert main(["bench", "echo"]) == 0
    with pytest.raises(ModuleNotFoundError):
        main(["other"])


@pytest.mark.parametrize("words", COMMANDS)
def test_the_options_of_every_command_can_be_declared(words, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    assert "--json" in capsys.readouterr().out


def test_help_lists_all_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--help"])
    text = capsys.readouterr().out
    assert all(words[1] in text for words in COMMANDS if words[0] == "bench")


@pytest.mark.parametrize("words", [[], ["bench"], ["nothing"], ["bench", "nothing"]])
def test_incomplete_commands_are_refused(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage" in capsys.readouterr().err


def test_the_options_of_the_called_command_are_declared():
    parser, command = build_parser(["bench", "interactive"])
    assert command is COMMANDS["bench", "interactive"]
    assert parser.parse_args(["bench", "interactive", "--images", "3"]).images == 3

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line itself: what it costs to ask for help, one style of options, errors, completion."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

import c2f_monai
from c2f_monai.apps.cli import build_parser, main, run_command
from c2f_monai.apps.import_weights import STARTS
from c2f_monai.apps.outputs import OUTPUT_TYPES
from c2f_monai.networks.weights import RSTN_AXCODES, RSTN_PLANES
from tests.processes import run_python

HELP = """
import contextlib, io, sys
from c2f_monai.apps.cli import main
for words in {words}:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main(words)
    assert "usage: c2f" in text.getvalue(), words
assert not {{"torch", "monai", "numpy"}} & set(sys.modules)
"""


def parsers(parser: argparse.ArgumentParser, name: str = "c2f") -> dict[str, argparse.ArgumentParser]:
    """All parsers by the words that lead to them."""
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                found |= parsers(child, f"{name} {word}")
    return found


ALL = parsers(build_parser(["prepare"]))


def test_help_of_all_commands_needs_neither_torch_nor_monai(project_root: Path) -> None:
    words = [[*name.split()[1:], "--help"] for name in ALL if not name.startswith("c2f prepare ")]
    assert len(words) > 15 and ["segment", "--help"] in words
    code = HELP.format(words=[w for w in words if "prepare" not in w])
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(project_root)}, check=True, timeout=60
    )


@pytest.mark.parametrize("name", ALL)
def test_options_are_written_with_dashes_and_explained(name: str) -> None:
    for action in ALL[name]._actions:
        assert not any("_" in option for option in action.option_strings)
        assert action.help or isinstance(action, argparse._SubParsersAction)
    assert "%(" not in ALL[name].format_help()


def test_options_may_be_written_as_ids_of_configurations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``monai.bundle`` writes them; values keep what they are."""
    for option in ("--dataset_dir", "--dataset-dir"):
        assert main(["check", option, str(tmp_path / "no_set")]) == 1
        assert "no_set does not exist" in capsys.readouterr().err
    assert main(["check", f"--dataset_dir={tmp_path / 'no_set'}"]) == 1
    assert "no_set does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option", "values", "expected"),
    [
        ("evaluate --dataset d --output o", "--config", ["a.json", "b.json"], ["a.json", "b.json"]),
        ("check --dataset-dir d", "--config-file", ["a.json", "b.json"], ["a.json", "b.json"]),
        ("diagnose --weights w", "--overlay", ["a.json", "b.json"], ["a.json", "b.json"]),
        ("score --pred p --label l --output o", "--label-value", ["1", "2"], [1, 2]),
        ("refine ct mask out", "--label-value", ["1", "2"], [1, 2]),
    ],
)
def test_an_option_that_is_given_again_adds_to_the_first(
    command: str, option: str, values: list[str], expected: list[object]
) -> None:
    """As those of ``train`` and ``segment`` do; the last one alone would silently leave the others out."""
    parser = build_parser(command.split()[:1])
    for words in ([option, *values], [word for value in values for word in (option, value)]):
        args = parser.parse_args([*command.split(), *words])
        assert getattr(args, option[2:].replace("-", "_")) == expected


@pytest.mark.parametrize("words", [[], ["segment"]])
def test_the_version_is_the_packages(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--version"])
    assert capsys.readouterr().out == f"c2f_monai {c2f_monai.__version__}\n"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("bad"), 1, "error: bad\n"),
        (OSError("gone"), 1, "error: gone\n"),
        (KeyboardInterrupt(), 130, "stopped.\n"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: argparse.Namespace) -> None:
        raise error

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=fail)
    assert run_command(parser, []) == status
    assert capsys.readouterr().err == text


def test_a_user_who_does_not_wait_for_the_options_is_told_as_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("c2f_monai.apps.cli.prepare.add_parser", interrupted)
    assert main(["prepare", "nih"]) == 130
    assert capsys.readouterr().err == "stopped.\n"


def test_what_monai_says_in_every_run_is_left_out(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """What it says of anything else stays."""

    def say(args: argparse.Namespace) -> None:
        logger = logging.getLogger("monai.bundle.workflows")
        logger.warning("Not all config files are in configs. If logging_file and meta_file arenot specified, ...")
        logger.warning("Logging file is set to False, skipping logging.")
        warnings.warn("monai.metrics.utils get_mask_edges:always_return_as_numpy: deprecated", FutureWarning, 1)
        warnings.warn("monai.metrics.utils get_mask_edges: something else", FutureWarning, 1)

    parser = argparse.ArgumentParser()
    parser.set_defaults(run=say)
    assert run_command(parser, []) == 0
    assert caplog.messages == ["Logging file is set to False, skipping logging."]
    assert [str(warning.message) for warning in recwarn] == ["monai.metrics.utils get_mask_edges: something else"]


@pytest.mark.parametrize(
    ("checkpoints", "said"),
    [
        (["checkpoint_3.pt"], "{} has checkpoints: the same command with --resume goes on\nstopped.\n"),
        ([], "stopped.\n"),
    ],
)
def test_a_stopped_training_says_how_to_go_on(
    checkpoints: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Stopped(ConfigWorkflow):
        def initialize(self) -> None:
            pass

        def run(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("c2f_monai.apps.train.ConfigWorkflow", Stopped)
    for name in checkpoints:
        (tmp_path / name).touch()
    assert main(["train", "--dataset", str(tmp_path), "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err.endswith(said.format(tmp_path))


def wrapped(cause: BaseException) -> RuntimeError:
    error = RuntimeError("Failed to instantiate")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "debug", "raised"),
    [
        (wrapped(ValueError("bad")), False, False),
        (wrapped(ValueError("bad")), True, True),
        (ValueError("bad"), True, True),
        (TypeError("a mistake of the program"), False, True),
    ],
)
def test_only_mistakes_of_input_are_without_a_traceback(error: Exception, debug: bool, raised: bool) -> None:
    def fail(args: argparse.Namespace) -> None:
        raise error

    parser = argparse.ArgumentParser()
    parser.add_argument("--debug", action="store_true")
    parser.set_defaults(run=fail)
    words = ["--debug"] if debug else []
    if raised:
        with pytest.raises(type(error)):
            run_command(parser, words)
    else:
        assert run_command(parser, words) == 1


@pytest.mark.parametrize(
    ("line", "expected"), [("c2f seg", "segment "), ("c2f segment --prev", "--preview "), ("c2f prepare n", "nih ")]
)
def test_tab_completes_commands_and_options(line: str, expected: str, project_root: Path, tmp_path: Path) -> None:
    """As the shell asks: the line in a variable, the answer in a file."""
    answer = tmp_path / "answer"
    variables = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "PYTHONPATH": str(project_root)}
    variables |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    code = "from c2f_monai.apps.cli import main; main()"
    assert run_python(["-c", code], env=os.environ | variables).returncode == 0
    assert answer.read_text(encoding="utf-8") == expected


def test_what_the_help_writes_out_is_what_the_package_has() -> None:
    """Help says it without importing what it is about."""
    choices = ALL["c2f import-weights"]._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert set(choices) == {"rstn", *STARTS}
    text = choices["rstn"].format_help()
    assert f"default: {RSTN_AXCODES}" in " ".join(text.split())
    assert all(f"--{plane.lower()}" in text for plane in RSTN_PLANES)
    kinds = next(action for action in ALL["c2f segment"]._actions if action.dest == "output_type")
    assert set(kinds.choices or ()) == set(OUTPUT_TYPES)


def test_output_that_is_cut_short_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "c2f_monai", "models"]
    ended = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""All commands in one parser, and how one of them is run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from ... import __version__
from . import (
    audit,
    check,
    compare,
    demo,
    diagnose,
    evaluate,
    experiment,
    export,
    import_weights,
    merge,
    models,
    pack,
    phantom,
    prepare,
    refine,
    release_weights,
    report,
    score,
    segment,
    train,
)

__all__ = ["build_parser", "main", "run_command"]

# In the order of the help text.
COMMANDS = (
    segment,
    refine,
    report,
    train,
    evaluate,
    models,
    demo,
    phantom,
    prepare,
    check,
    import_weights,
    score,
    diagnose,
    compare,
    release_weights,
    merge,
    audit,
    export,
    pack,
    experiment,
)
COMPLETION = """tab completion in bash and zsh: eval "$(register-python-argcomplete c2f)"
"""


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets `run`, a function of the parsed arguments.

    Args:
        words: of the command line; the options of data sets are read from the package only where they are asked for.
    """
    parser = argparse.ArgumentParser(
        prog="c2f",
        description="Coarse-to-fine segmentation of small targets in CT: segment, and tools around the bundle.",
        epilog=COMPLETION,
    )
    parser.add_argument("--version", action="version", version=f"c2f_monai {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        if command is prepare:
            prepare.add_parser(subparsers, with_data_sets="prepare" in words)
        else:
            command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the package, see :func:`run_command`."""
    words = _dashed_words(sys.argv[1:] if argv is None else argv)
    completing = "_ARGCOMPLETE" in os.environ
    try:
        parser = build_parser(os.environ.get("COMP_LINE", "").split() if completing else words)
    except KeyboardInterrupt:  # the options of data sets come with torch, which takes seconds
        return _stopped()
    if completing:
        import argcomplete

        argcomplete.autocomplete(parser)  # ends the process
    return run_command(parser, words)


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        parser: of the commands; each sets `run`, a function of the parsed arguments.
        argv: arguments after the program's name; None takes the process's own.

    Returns:
        0, 1 after a bad input, which is told in one line on stderr, 130 where the user ended it, or 141 where who reads
        did, such as ``head``.

    Raises:
        Exception: what is no bad input; with ``--debug`` a bad input, too.
    """
    args = parser.parse_args(argv)
    _silence_monai()
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough, such as head; what is left in the buffer must not be told at the end of Python either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        from ...utils import USER_ERRORS, error_line, root_cause  # with torch, which help does without

        cause = root_cause(error)
        if getattr(args, "debug", False) or not isinstance(cause, USER_ERRORS):
            raise
        print(error_line(cause), file=sys.stderr)
        return 1
    return 0


def _stopped() -> int:
    print("stopped.", file=sys.stderr)
    return 130


def _silence_monai() -> None:
    """Leave out what MONAI says in every run of what no user can change."""
    # Where pydicom is installed, its LoadImage says each time that a decoder of NVIDIA's is not.
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "NvImgCodecPydicomReader: nvImageCodec")
    # It gives itself an argument that it has deprecated, and each overlay lies in another folder than the bundle's.
    warnings.filterwarnings("ignore", "monai.metrics.utils get_mask_edges:always_return_as_numpy")
    logging.getLogger("monai.bundle.workflows").addFilter(_tells_more_than_folders)


def _tells_more_than_folders(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Not all config files are in")


def _dashed_words(words: Sequence[str]) -> list[str]:
    """Options with dashes, but for those of another program."""
    return list(words) if experiment.NAME in words[:1] else [_dashed(word) for word in words]


def _dashed(word: str) -> str:
    """An option with dashes, where it is written as ids of configurations are: ``--dataset_dir``."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word

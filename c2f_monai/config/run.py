# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a configuration runs first, in its ``initialize``: the check of itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from ..utils import check_packages, tell_errors_in_one_line
from .check import check_config
from .rules import file_problems

__all__ = ["check_run", "find_caller"]


@dataclass
class Caller:
    """Who resolves the id that called this.

    Attributes:
        parser: of the configuration.
        workflow: that runs it; None where a parser is asked for the id alone.
        given: what was overridden in ``monai.bundle run``, None included.
    """

    parser: ConfigParser | None = None
    workflow: ConfigWorkflow | None = None
    given: dict[str, Any] = field(default_factory=dict)


def check_run(debug: bool | str = False) -> None:
    """Check the configuration that this is a part of, see :func:`c2f_monai.config.check_config`.

    A component sees its arguments only, and a reference to the whole configuration would build all of it. So the parser
    is looked for among the callers. Weights and output folder are checked where the configuration is run, not where an
    id of it is asked for. Under ``python -m monai.bundle``, an error ends in one line from here on.

    Args:
        debug: leave tracebacks as they are. Defaults to False.

    Raises:
        ConfigError: for what cannot be meant.
        MissingPackagesError: where a package that this one imports is not installed.
    """
    caller = find_caller()
    if str(debug).lower() != "true" and _is_command():
        tell_errors_in_one_line()
    check_packages()
    if caller.parser is None:
        return
    workflow = caller.workflow
    if workflow is None:
        check_config(caller.parser)
    else:
        run_ids = {str(name) for name in (workflow.run_id, workflow.init_id, workflow.final_id) if name}
        check_config(caller.parser, caller.given, run_ids, file_problems)


def find_caller() -> Caller:
    """The nearest parser among the callers, with what runs it."""
    found = Caller()
    for frame in _frames():
        one = frame.f_locals.get("self")
        if found.parser is None and isinstance(one, ConfigParser):
            found.parser = one
        elif found.workflow is None and isinstance(one, ConfigWorkflow) and one.parser is found.parser:
            found.workflow = one
        elif frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "monai.bundle.scripts":
            found.given = dict(frame.f_locals.get("override", {}))
            break
    return found


def _frames() -> Iterator[FrameType]:
    frame = sys._getframe().f_back
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_command() -> bool:
    """Whether the process is ``python -m monai.bundle``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == "monai.bundle.__main__"

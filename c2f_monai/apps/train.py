# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``train``: the bundle's training, from any directory."""

from __future__ import annotations

import argparse
import sys

from monai.bundle import ConfigWorkflow

from ..config import override_config
from ..utils import bundle_root, config_file
from .model_config import model_ids

__all__ = ["run"]

#: Ids that the command has arguments for, or sets.
_SAID = frozenset(("bundle_root", "dataset_dir", "output_dir", "resume"))


def run(args: argparse.Namespace) -> None:
    """Train, as ``python -m monai.bundle run`` does with the same configurations and ids.

    Raises:
        FileNotFoundError: when there is no such configuration or data set.
        ValueError: when an option is none, or an id that the command has an argument for, and when the configuration, a
            case or the training is wrong.
    """
    given = model_ids(args.option, _SAID)
    files = [str(config_file(name)) for name in ("train.json", *args.config)]
    options = {"bundle_root": str(bundle_root()), "dataset_dir": str(args.dataset.absolute())}
    options |= {"output_dir": str(args.output.absolute()), "resume": args.resume}
    workflow = ConfigWorkflow(files, workflow_type="train", meta_file=None)
    override_config(workflow.parser, options | given)
    workflow.initialize()
    try:
        workflow.run()
    except KeyboardInterrupt:
        if any(args.output.glob("checkpoint_*.pt")):
            print(f"{args.output} has checkpoints: the same command with --resume goes on", file=sys.stderr)
        raise
    workflow.finalize()
    print(f"{args.output / 'model.pt'}: c2f segment and c2f evaluate take it as --model")

# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Shares of an archive: each has a folder of its own, and a run of all cases takes in what the shares have done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import Manifest
from ..utils import Status

__all__ = ["left_to_share", "shard_folder", "take_in_shards"]

SHARDS = "shards"


def shard_folder(folder: Path, shard: tuple[int, int]) -> Path:
    """Where a share writes: two runs in one folder would wait for each other, on several machines for a file system.

    Args:
        folder: of all masks.
        shard: number of the share, from 1, and how many there are.

    Examples:
        >>> shard_folder(Path("masks"), (3, 8)).as_posix()
        'masks/shards/3-of-8'
    """
    return folder / SHARDS / f"{shard[0]}-of-{shard[1]}"


def left_to_share(manifest: Manifest, cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cases of a share without those that a run of all has done, or taken in, by the same options.

    Args:
        manifest: of the folder of all, with the options of this run; it is only read, as other shares run beside.
        cases: of the share; what is left out of the input stays.

    Raises:
        ValueError: where the folder holds masks that were made otherwise, or of other images.
        FileExistsError: where a file that no run made is in the place of a mask.
    """
    missing = {case["case"] for case in manifest.missing(cases)}
    return [dict(case) for case in cases if "skipped" in case or case["case"] in missing]


def take_in_shards(
    manifest: Manifest,
    cases: Sequence[Mapping[str, Any]],
    wanted: Collection[str],
    make_manifest: Callable[[Path], Manifest],
) -> set[str]:
    """Move the masks of shares into the folder of all, and note their cases; a share that is empty then is removed.

    Args:
        manifest: of the folder of all, planned; it begins when all shares fit it.
        cases: all of them, see :func:`c2f_monai.data.list_inputs`.
        wanted: names of the cases that may be taken.
        make_manifest: that of a share's folder, with the options of this run.

    Returns:
        Names of the cases that were taken. What failed in a share, or was changed since, is not.

    Raises:
        ValueError: for a share whose masks were made otherwise.
        OSError: while a share is running, where the manifest knows of it.
    """
    files = sorted((manifest.folder / SHARDS).glob(f"*-of-*/{manifest.path.name}"))
    shares = [make_manifest(path.parent) for path in files]
    left = [{case["case"] for case in share.plan(cases)} for share in shares]
    manifest.begin()
    taken: set[str] = set()
    for share, todo in zip(shares, left, strict=True):
        beside = share.beside()
        rows = {row["case"]: row for row in share.rows() if row["status"] == Status.DONE and row["case"] not in todo}
        for name in [name for name in rows if name in wanted and name not in taken]:
            manifest.mask_of(name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(share.mask_of(name), manifest.mask_of(name))
            row = {key: value for key, value in rows[name].items() if key not in ("status", "reason")}
            manifest.done(name, row, beside=beside.get(name, ()))
            taken.add(name)
        share.close()
        if not any(share.folder.rglob(f"*{share.ending}")):
            shutil.rmtree(share.folder)
    return taken

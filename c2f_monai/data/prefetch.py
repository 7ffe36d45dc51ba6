# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches that are made while the last one is worked on."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread
from typing import Any

from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate

from ..transforms.axis_resampling import memory_order

__all__ = ["PrefetchDataLoader", "collate_volumes"]

#: Threads that make batches, and what stops each before its next one.
_MAKING: dict[Thread, Callable[[], None]] = {}
#: Seconds that the end of the process waits for the batches in work: some slabs, but not a large volume.
PATIENCE = 2.0


@atexit.register
def end_threads() -> None:
    """Let threads come out of PyTorch's code, which aborts a process that ends within it: its exit status is lost."""
    for stop in list(_MAKING.values()):
        stop()
    for thread in list(_MAKING):
        thread.join(PATIENCE)


def collate_volumes(batch: Sequence[Any]) -> Any:
    """MONAI's ``list_data_collate``, but volumes (C, H, W, D) of dictionaries keep their order in memory.

    A batch of one volume that lies as its file has it is a copy of 150 MB; turning it takes four times as long.

    Examples:
        >>> import torch
        >>> volume = MetaTensor(torch.zeros(1, 2, 3, 4).permute(0, 3, 2, 1))
        >>> batch = collate_volumes([{"image": volume}])["image"]
        >>> tuple(batch.shape), batch[0].stride() == volume.stride()
        ((1, 1, 4, 3, 2), True)
    """
    first = batch[0]
    if not isinstance(first, dict):
        return list_data_collate(batch)
    volumes = {key: value for key, value in first.items() if isinstance(value, MetaTensor) and value.dim() == 4}
    orders = {key: memory_order(volume) for key, volume in volumes.items()}
    turned = [{**case, **{key: case[key].permute(order) for key, order in orders.items()}} for case in batch]
    collated: dict[Any, Any] = list_data_collate(turned)
    for key, order in orders.items():
        collated[key] = collated[key].permute(0, *(order.index(axis) + 1 for axis in range(4)))
    return collated


class PrefetchDataLoader(DataLoader):
    """
    MONAI's ``DataLoader`` whose next batches are made in a thread.

    Unlike ``monai.data.ThreadDataLoader``, whose iteration just ends when its thread fails, an error is raised where
    the batch is due: no case is left out without a word.

    Args:
        dataset: the data set.
        ahead: batches that are made in advance. Defaults to 1.
        kwargs: arguments of ``monai.data.DataLoader``; ``collate_fn`` defaults to :func:`collate_volumes`.

    Raises:
        ValueError: when ``ahead`` is below 1.
    """

    def __init__(self, dataset: Dataset, ahead: int = 1, **kwargs: Any) -> None:
        if ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {ahead}.")
        super().__init__(dataset, **{"collate_fn": collate_volumes, **kwargs})
        self.ahead = ahead

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches in the order of the sampler."""
        batches, end = super().__iter__(), object()
        made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        room, stopped = Semaphore(self.ahead), Event()

        def stop() -> None:
            stopped.set()
            room.release()

        def make() -> None:
            try:
                make_batches()
            finally:
                _MAKING.pop(current_thread(), None)

        def make_batches() -> None:
            batch = None
            while batch is not end:
                room.acquire()
                if stopped.is_set():
                    return
                try:
                    batch = next(batches, end)
                    made.put((batch, None))
                except BaseException as error:  # noqa: B036  # raised below, where batches are taken
                    batch = end
                    made.put((end, error))

        # A daemon: a process that is to end does not wait long for a volume that is read.
        thread = Thread(target=make, daemon=True)
        _MAKING[thread] = stop
        thread.start()
        try:
            while True:
                batch, error = made.get()
                if error is not None:
                    raise error
                if batch is end:
                    return
                room.release()
                yield batch
        finally:  # also when the engine ends in the middle
            stop()

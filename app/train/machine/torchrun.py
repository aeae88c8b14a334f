"""The processes that torchrun starts: their numbers, how they connect, and which one reports errors.

PyTorch is imported inside functions, because most commands start without it.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from app.core.errors import InputError

if TYPE_CHECKING:
    from app.train.machine.processes import Processes

# Timeout of exchanges within a step: a process that hangs ends the others; torchrun handles those that die.
_STEP = timedelta(minutes=30)
# Timeout for plain data, which processes wait for while others plan, prepare or evaluate.
_PATIENCE = timedelta(days=7)
_PRINTING = timedelta(seconds=20)


def process_count() -> int:
    """Return the number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_count() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process on this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def refuse_several(setting: str) -> None:
    """Check that this is the only process.

    Raises:
        InputError: there are several.
    """
    if process_count() > 1:
        raise InputError(f"{setting}: runs in one process; start it with python run.py, not with torchrun")


@contextmanager
def open_processes() -> Iterator["Processes"]:
    """Join the processes that torchrun started; only the leading one logs and shows progress."""
    from app.train.machine.processes import ALONE, Processes

    if process_count() == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    if process_rank() > 0:
        logging.disable(logging.CRITICAL)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_STEP)
    yield Processes(process_rank(), process_count(), dist.new_group(backend="gloo", timeout=_PATIENCE))
    dist.destroy_process_group()  # not after an error: other processes may never finish what they share


@contextmanager
def one_voice() -> Iterator[bool]:
    """Yield whether this process reports an error: among several, the first that failed does.

    The others mostly fail because the first is gone. They wait until it has printed its message, because
    torchrun ends all processes as soon as one has ended.
    """
    if process_count() == 1:
        yield True
        return
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    failed, printed = f"failed/{attempt}", f"printed/{attempt}"
    try:
        store = TCPStore(address, port, timeout=_PRINTING)
        first = store.add(failed, 1) == 1
    except RuntimeError:  # torchrun itself is gone
        yield process_rank() == 0
        return
    yield first
    sys.stderr.flush()
    if first:
        store.set(printed, "yes")
    else:
        with suppress(RuntimeError):
            store.wait([printed], _PRINTING)

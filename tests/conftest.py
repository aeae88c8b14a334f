"""Small real data sets, written to disk the way users have them."""

import locale
import logging
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

# Before torch starts its threads: waiting threads that spin would hold up other processes on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from app.cli.shell.command_line import find_plugins
from tests.support.volumes import MakeTask, write_blobs

# Commands started in the background ignore SIGINT, and so do the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

find_plugins()  # before the first test lets Hydra look for them: it looks once per process


@pytest.fixture(autouse=True)
def _threads() -> None:
    """Two, or one where the tests themselves run in several processes."""
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Commands in this process leave settings of Hydra and log handlers; the DICOM writer of ITK a locale."""
    root, settings, kind = logging.getLogger(), HydraConfig.instance().cfg, locale.setlocale(locale.LC_CTYPE)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], HydraConfig.instance().cfg = handlers, settings
    root.setLevel(level)
    locale.setlocale(locale.LC_CTYPE, kind)


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """A function that writes a Decathlon folder of blobs brighter than their noisy surroundings."""
    return partial(write_blobs, tmp_path)

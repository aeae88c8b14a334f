"""Interrupts that a library's own error replaces, and errors that are not one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from omegaconf import ListConfig, OmegaConf

from app.cli.config.exit_codes import exit_codes
from app.core.errors import INTERRUPTED, InputError, interrupts_kept
from app.io.faults import faults_named


@contextmanager
def clumsy(error: Exception) -> Iterator[None]:
    """A library's block whose `finally` fails."""
    try:
        yield
    finally:
        raise error


def test_an_interrupt_that_an_error_replaced_is_raised_again() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_kept(), clumsy(ValueError()):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), faults_named(Path("a.nii"), "NIfTI"), clumsy(ValueError()):
        raise KeyboardInterrupt
    with pytest.raises(SystemExit) as ended, exit_codes(), clumsy(RuntimeError()):
        raise KeyboardInterrupt
    assert ended.value.code == INTERRUPTED


def test_an_interrupted_configuration_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """OmegaConf has appended an empty item when it is interrupted, and fails on it when it ends."""

    def interrupted(values: ListConfig, key: int, value: object) -> None:
        values.__dict__["_content"].append(None)
        raise KeyboardInterrupt

    monkeypatch.setattr(ListConfig, "_set_item_impl", interrupted)
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        OmegaConf.create({"seeds": [1, 2]})


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="no"), interrupts_kept(), clumsy(ValueError("no")):
        raise ZeroDivisionError
    with pytest.raises(InputError, match="disk"), interrupts_kept(), clumsy(InputError("disk is full")):
        raise KeyboardInterrupt  # our own error while an interrupt is handled says more

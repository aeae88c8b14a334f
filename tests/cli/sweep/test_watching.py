"""Calls in the background, some of which fail."""

import threading

import pytest

from app.cli.sweep import watching as module
from app.cli.sweep.watching import watching
from app.core.errors import InputError


def test_errors_in_the_background_are_left_to_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD", 0.001)
    dropped: list[object] = []
    monkeypatch.setattr(threading, "excepthook", dropped.append)
    called = threading.Semaphore(0)

    def look() -> None:
        called.release()
        raise InputError("study.db: cannot be read")

    for error in (None, KeyboardInterrupt):
        with pytest.raises(error or InputError), watching(look):
            called.acquire()
            called.acquire()
            if error is not None:
                raise error
    assert not dropped


def test_the_last_call_sees_the_end() -> None:
    seen: list[int] = []
    done: list[int] = []
    with watching(lambda: seen.append(len(done))):
        done.append(1)
    assert seen[-1] == 1

"""Words that are not told: in no log line, no error and no note of one, until the end."""

import logging

import pytest

from app.core.errors import InputError
from app.core.hidden import hide, hide_words, hiding


def test_words_are_left_out_of_lines_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    log, before = logging.getLogger("app.some.module"), logging.getLogRecordFactory()
    caplog.set_level(logging.INFO)
    with pytest.raises(InputError, match=r"^\(patient\)/a: 3") as error, hiding():
        log.info("first of %s", "Doe_Jane")
        hide(["Doe", "Doe_Jane"])
        log.info("%d files of %s", 3, "x/Doe_Jane/y")
        raised = InputError("Doe_Jane/a: 3")
        raised.add_note("reading Doe")
        raise raised
    log.info("after it Doe_Jane")
    assert caplog.messages == ["first of Doe_Jane", "3 files of x/(patient)/y", "after it Doe_Jane"]
    assert error.value.__notes__ == ["reading (patient)"]
    assert logging.getLogRecordFactory() is before
    hide(["Doe"])  # nothing listens


def test_words_are_left_out_of_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("app.some.module")
    with hiding():
        hide(["Doe_Jane"])
        try:
            raise ValueError("x/Doe_Jane/y")
        except ValueError as error:
            log.error("a defect", exc_info=error)
    assert "ValueError: x/(patient)/y" in caplog.text and "Doe_Jane/y" not in caplog.text


def test_short_words_are_hidden_in_paths_alone() -> None:
    assert hide_words(["7", "123"], "/data/7/123: got 7 of 123 slices") == (
        "/data/(patient)/(patient): got 7 of 123 slices"
    )

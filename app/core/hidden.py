"""Words that must not appear in log lines and errors, such as names of patients."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

HIDDEN = "(patient)"
_LEAST_DIGITS = 5  # of a number that is also hidden outside paths; shorter ones may be numbers of slices
LEAST_LETTERS = 3
"""Shortest word that is also hidden within other words; shorter ones are hidden only in paths."""


def hide_words(words: Iterable[str], message: str) -> str:
    """Return the message with each word replaced by `HIDDEN`, longest words first."""
    for word in sorted(words, key=len, reverse=True):
        short = len(word) < LEAST_LETTERS or (word.isdigit() and len(word) < _LEAST_DIGITS)
        message = message.replace(f"/{word}", f"/{HIDDEN}") if short else message.replace(word, HIDDEN)
    return message


class _Factory:
    """A factory of log records without the hidden words."""

    def __init__(self) -> None:
        self.before = logging.getLogRecordFactory()
        self.words: set[str] = set()

    def __call__(self, *args: object, **named: object) -> logging.LogRecord:
        record = self.before(*args, **named)
        if self.words:
            record.msg, record.args = hide_words(self.words, record.getMessage()), ()
            if record.exc_info:  # formatters use this text, if there is one, as the traceback
                traceback = logging.Formatter().formatException(record.exc_info)
                record.exc_text = hide_words(self.words, traceback)
        return record


def hide(words: Iterable[str]) -> None:
    """Hide words until the end of the enclosing `hiding`; without one nothing is hidden."""
    factory = logging.getLogRecordFactory()
    if isinstance(factory, _Factory):
        factory.words.update(words)


@contextmanager
def hiding() -> Iterator[None]:
    """Replace words that are passed to `hide` within this block in the log lines and errors of the block."""
    factory = _Factory()
    logging.setLogRecordFactory(factory)
    try:
        yield
    except Exception as error:
        if factory.words:
            error.args = tuple(
                hide_words(factory.words, arg) if isinstance(arg, str) else arg for arg in error.args
            )
            error.__notes__ = [hide_words(factory.words, note) for note in getattr(error, "__notes__", ())]
        raise
    finally:
        logging.setLogRecordFactory(factory.before)

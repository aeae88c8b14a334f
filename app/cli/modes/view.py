"""The mode view: a scan, its reference, its prediction and their difference in the browser."""

import logging
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from app.cli.config.run_config import data_moved
from app.cli.config.settings import read_settings
from app.core.errors import InputError
from app.view.opened import case_of_files, case_of_run
from app.view.page import contents
from app.view.server import ViewServer
from app.view.viewed_case import ViewedCase

log = logging.getLogger(__name__)
_MEGA = 1e6
_PORTS = 2**16


@dataclass(frozen=True)
class _Settings:
    """What is shown, and where."""

    run: str | None
    case: str | None
    scan: str | None
    labels: Any
    """A path, or a list of paths."""
    port: int | None
    browser: bool

    def __post_init__(self) -> None:
        """Validate values."""
        if self.port is not None and not 0 <= self.port < _PORTS:
            raise InputError(f"view.port: got {self.port}, wanted 0 to {_PORTS - 1}, or null for a free one")


def run(cfg: DictConfig) -> Path:
    """Show a case until Ctrl-C; return the folder of the run or of the scan."""
    settings = read_settings(_Settings, cfg.view, "view")
    case = _opened(settings)
    page = contents(case)
    megabytes = sum(len(content.data) for content in page.values()) / _MEGA
    try:
        server = ViewServer(page, settings.port or 0)
    except OSError as error:
        raise InputError(
            f"view.port: {settings.port} cannot be used ({error.strerror}); leave it out"
        ) from None
    with server:
        log.info("%s, %.0f MB: %s", case.title, megabytes, server.url)
        log.info("The page is for this machine only; Ctrl-C ends it.")
        if settings.browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("The viewer has ended.")
    return Path(settings.run) if settings.run else Path(str(settings.scan)).parent


def _opened(settings: _Settings) -> ViewedCase:
    if (settings.run is None) == (settings.scan is None):
        raise InputError("view: wanted one of view.run=<run folder> and view.scan=<file or folder>")
    if settings.run is not None:
        if settings.labels:
            raise InputError(
                "view.labels: is for view.scan; leave it out, because a run has its own label maps"
            )
        return case_of_run(Path(settings.run), settings.case, data_moved())
    if settings.case is not None:
        raise InputError("view.case: is for view.run; leave it out")
    labels = [settings.labels] if isinstance(settings.labels, str) else settings.labels
    return case_of_files(Path(str(settings.scan)), [Path(path) for path in labels])

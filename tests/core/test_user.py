"""A process under a number that the system has no name for."""

import getpass
import importlib
import os

import pytest

import app
from app.core.user import name_user

pwd = pytest.importorskip("pwd")


def unknown(_number: int) -> None:
    raise KeyError("uid not found")


def test_a_number_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    name_user()
    assert "USER" not in os.environ  # the system has one
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    importlib.reload(app)
    assert getpass.getuser() == f"uid{os.getuid()}"
    monkeypatch.setenv("USER", "chosen")
    importlib.reload(app)
    assert getpass.getuser() == "chosen"

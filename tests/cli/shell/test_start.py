"""A command that is interrupted before it has imported everything."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e
WAITING = (
    "import signal, sys, types, time\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "slow = types.ModuleType('app.cli.shell.command_line')\n"
    "slow.__getattr__ = lambda name: print('ready', flush=True) or time.sleep(600)\n"
    "sys.modules[slow.__name__] = slow\n"
    "from app.cli.shell.start import main\n"
    "main()\n"
)
"""The entry, with an import that takes minutes."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_imports_is_one_line(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert errors.count("\n") == 1 and "the same command" in errors


def test_little_is_imported_before_that() -> None:
    code = (
        "import sys, app.cli.shell.start; print(any(m in sys.modules for m in ('torch', 'hydra', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

"""The software and the machine of a run."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from app import __version__


def environment(data_hash: str) -> dict[str, Any]:
    """Return versions, processor, threads, git revision and data hash for environment.json."""
    packages = ("torch", "monai", "numpy", "nibabel", "SimpleITK", "hydra-core")
    return {
        "version": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "git": _revision(),
        "data_hash": data_hash,
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Return the properties of a machine that step times depend on."""
    on_gpu = device.type == "cuda"
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def _revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

"""Optional packages: the releases that are tested, and one message for those that are not installed."""

from collections.abc import Iterable
from importlib.util import find_spec

from app.core.errors import InputError

RELEASES = {
    "highdicom": ">=0.28,<1",
    "mlflow": ">=3.17,<4",
    "nncf": ">=3.4,<4",
    "onnx": ">=1.23,<2",
    "onnxruntime": ">=1.32,<2",
    "openvino": ">=2026.4",
    "optuna": ">=5,<6",
    "pydicom": "",  # highdicom says which
    "tensorboard": ">=2.21,<3",
    "wandb": ">=0.31,<1",
}


def absent(packages: Iterable[str]) -> list[str]:
    """Return the packages that are not installed."""
    return [package for package in packages if find_spec(package) is None]


def require(setting: str, *packages: str) -> None:
    """Refuse a setting whose packages are not installed.

    Raises:
        InputError: with the command that installs them.
    """
    missing = absent(packages)
    if missing:
        wanted = " ".join(f'"{package}{RELEASES[package]}"' for package in missing)
        raise InputError(f"{setting}: not installed; pip install {wanted}")

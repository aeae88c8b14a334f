"""Optional packages: the tested releases, and the error for a package that is not installed."""

from collections.abc import Iterable
from importlib.util import find_spec

from app.core.errors import InputError

RELEASES = {
    "highdicom": ">=0.28,<1",
    "hydra-joblib-launcher": ">=1.2,<2",
    "hydra-ray-launcher": ">=1.2,<2",
    "hydra-submitit-launcher": ">=1.2,<2",
    "mlflow": ">=3.17,<4",
    "nncf": ">=3.4,<4",
    "onnx": ">=1.23,<2",
    "onnxruntime": ">=1.32,<2",
    "openvino": ">=2026.4",
    "optuna": ">=5,<6",
    "pydicom": "",  # highdicom requires a suitable one
    "scikit-image": ">=0.25,<1",
    "tensorboard": ">=2.21,<3",
    "wandb": ">=0.31,<1",
}
_IMPORTED_AS = {"scikit-image": "skimage"}
"""Packages that are imported by another name."""
LAUNCHERS = {
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
"""Packages of the launchers of Hydra that options of hydra/launcher are based on."""


def absent(packages: Iterable[str]) -> list[str]:
    """Return the packages that are not installed."""
    return [package for package in packages if find_spec(_IMPORTED_AS.get(package, package)) is None]


def require_packages(setting: str, *packages: str) -> None:
    """Check that the packages a setting needs are installed.

    Raises:
        InputError: one is missing; the message has the command that installs it.
    """
    missing = absent(packages)
    if missing:
        raise InputError(not_installed(setting, *missing))


def not_installed(setting: str, *packages: str) -> str:
    """Return the message about packages that a setting needs, with the command that installs them."""
    wanted = " ".join(f'"{package}{RELEASES[package]}"' for package in packages)
    return f"{setting}: not installed; pip install {wanted}"

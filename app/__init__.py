"""CakeSeg: training, search and application of 3D segmentation networks.

    from app import run, Segmenter

    trained = run("task=hippocampus", "train=smoke")        # as python run.py task=hippocampus train=smoke
    labels = trained.segmenter()("scan.nii.gz")             # (i, j, k) in the scan's own geometry

The package is quick to import, because its contents are imported at first use.
"""

from os import environ

if not any(environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
    from app.core.user import name_user  # here, because most users have a name

    name_user()

TYPE_CHECKING = False  # replaces typing.TYPE_CHECKING, because importing typing would double the import time
if TYPE_CHECKING:
    from app.api import RunFolder, run
    from app.infer.scan.segmenter import Segmenter

__all__ = ["NAME", "RunFolder", "Segmenter", "__version__", "run"]

NAME = "CakeSeg"
__version__ = "0.1.0"

_FROM = {"run": "app.api", "RunFolder": "app.api", "Segmenter": "app.infer.scan.segmenter"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name in _FROM:
        from importlib import import_module

        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

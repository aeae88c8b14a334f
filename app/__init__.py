"""CakeSeg: training, search and application of 3D segmentation networks.

    from app import run, Segmenter

    trained = run("task=hippocampus", "train=smoke")        # as python run.py task=hippocampus train=smoke
    labels = trained.segmenter()("scan.nii.gz")             # (i, j, k) in the scan's own geometry

Importing the package is quick; what it offers is imported at first use.
"""

from app.core.user import name_user

name_user()

TYPE_CHECKING = False  # that of typing, whose import takes as long as that of this package otherwise
if TYPE_CHECKING:
    from app.api import RunFolder, run
    from app.infer.scan.segmenter import Segmenter

__all__ = ["NAME", "RunFolder", "Segmenter", "__version__", "run"]

NAME = "CakeSeg"
__version__ = "0.1.0"

_FROM = {"run": "app.api", "RunFolder": "app.api", "Segmenter": "app.infer.scan.segmenter"}


def __getattr__(name: str) -> object:
    """Import what the package offers when it is first asked for."""
    if name in _FROM:
        from importlib import import_module

        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

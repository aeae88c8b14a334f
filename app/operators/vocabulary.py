"""Kernel vocabularies: the named kernel sets of CAKES, and lists of kernels."""

from collections.abc import Sequence

from app.core.errors import InputError
from app.core.kernel import Kernel

_POINT = ("1x1x1",)
_1D = ("3x1x1", "1x3x1", "1x1x3")
_2D = ("1x3x3", "3x1x3", "3x3x1")
_3D = ("3x3x3",)
KERNEL_SETS: dict[str, tuple[str, ...]] = {
    "1d": _1D,
    "2d": _2D,
    "12d": _1D + _2D,
    "23d": _2D + _3D,
    "123d": _1D + _2D + _3D,
    "0123d": _POINT + _1D + _2D + _3D,
}


def vocabulary(kernels: str | Sequence[str], where: str) -> tuple[Kernel, ...]:
    """Return the kernels of a named set, or of a list like `[1x3x3, 5x1x1, 3x3x3d2]`.

    Raises:
        InputError: the set is unknown, or the list is empty or has a kernel twice; the message begins with
            `where`.
    """
    if isinstance(kernels, str) and kernels not in KERNEL_SETS:
        raise InputError(
            f"{where}: got {kernels!r}, wanted one of {', '.join(KERNEL_SETS)} or a list of kernels"
        )
    texts = KERNEL_SETS[kernels] if isinstance(kernels, str) else kernels
    found = tuple(Kernel.parse(str(text), where) for text in texts)
    if not found or len(set(found)) < len(found):
        raise InputError(f"{where}: got {[str(kernel) for kernel in found]}, wanted at least one, none twice")
    return found

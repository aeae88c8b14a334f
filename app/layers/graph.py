"""The order in which a network computes its modules."""

import operator
from collections.abc import Collection, Iterable

from torch import fx, nn

ADDITIONS = (operator.add, operator.iadd, "add", "add_")
"""The targets of steps that add two maps."""


def trace(
    network: nn.Module, leaves: tuple[type, ...], leaf_paths: Collection[str] = ()
) -> Iterable[fx.Node]:
    """Return the steps of a forward pass; modules of the types `leaves` or at `leaf_paths` are one step each.

    Modules of torch.nn without such submodules are one step too.
    """
    return _Tracer(leaves, leaf_paths).trace(network).nodes


class _Tracer(fx.Tracer):
    def __init__(self, leaves: tuple[type, ...], leaf_paths: Collection[str]) -> None:
        super().__init__()
        self._leaves, self._leaf_paths = leaves, leaf_paths

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether the tracer does not enter a module."""
        chosen = isinstance(m, self._leaves) or module_qualified_name in self._leaf_paths
        return chosen or super().is_leaf_module(m, module_qualified_name)

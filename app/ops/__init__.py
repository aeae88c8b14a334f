"""Convolution operators, one idea a file."""

from typing import Any

import app.ops as package
from app.core.registry import restore
from app.ops.operator import ConvSpec, Cost, Operator

__all__ = ["ConvSpec", "Cost", "Operator", "operator_from"]


def operator_from(description: dict[str, Any]) -> Operator:
    """The operator that `Operator.describe` described."""
    return restore(description, Operator, package)  # type: ignore[type-abstract]

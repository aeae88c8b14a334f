"""Convolution operators, one idea a file."""

from typing import Any

import app.operators as package
from app.core.registry import rebuild
from app.operators.operator import ConvSpec, Operator

__all__ = ["ConvSpec", "Operator", "operator_from"]


def operator_from(description: dict[str, Any]) -> Operator:
    """The operator that `Operator.describe` described."""
    return rebuild(description, Operator, package)  # type: ignore[type-abstract]

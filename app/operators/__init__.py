"""Convolution operators, one kind per file."""

from typing import Any

import app.operators as package
from app.core.registry import rebuild
from app.operators.operator import ConvSpec, Operator

__all__ = ["ConvSpec", "Operator", "operator_from"]


def operator_from(description: dict[str, Any]) -> Operator:
    """Rebuild an operator from the values of `Operator.describe`."""
    return rebuild(description, Operator, package)  # type: ignore[type-abstract]

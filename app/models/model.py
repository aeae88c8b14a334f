"""The interface of a model: it defines the topology; operators build every spatial convolution."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from app.core.plan import Plan
from app.core.registry import Registered
from app.core.task import Task
from app.core.types import Size
from app.operators import Operator

VERSION = 3
"""Version of the computation that a description stands for; a checkpoint without this key has version 1.

Version 2: channel gates squeeze the output of a convolution before its norm; in a residual block they follow
the second convolution; operators with their own norm and activation use the model's kinds of both.
Version 3: a thin decoder has at least as many channels as there are classes.
"""


@dataclass(frozen=True)
class Shape:
    """The sizes of a network, which the data determine.

    Entry i of widths, strides and kernels belongs to level i; level 0 is the finest.
    """

    in_channels: int
    classes: int
    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    kernels: tuple[Size, ...]
    patch: Size | None = None
    """Size of a patch in voxels; needed only by operators that are built for one size."""
    regions: tuple[tuple[int, ...], ...] = ()
    """Labels of each region, if the network's classes are regions, which may overlap; else empty."""
    version: int = VERSION


def shape_for(task: Task, plan: Plan) -> Shape:
    """Return the shape of the network of a plan, for the channels and classes of a task."""
    return Shape(
        in_channels=len(task.modalities),
        classes=len(task.regions or task.segmented),
        widths=plan.widths,
        strides=plan.strides,
        kernels=plan.kernels,
        patch=plan.patch,
        regions=tuple(task.regions.values()),
    )


class Model(Registered, ABC):
    """A builder of networks (B, in_channels, D, H, W) -> logits (B, classes, D, H, W).

    In training mode a network may return a list of logits, finest first, for deep supervision.
    """

    @abstractmethod
    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a network with newly initialised weights."""

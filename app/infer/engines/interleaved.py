"""Networks for thick slices on scans of thinner ones: each stack of every n-th slice is segmented alone."""

from dataclasses import replace

import torch
from torch import Tensor

from app.core.plan import Plan
from app.core.slices import count_stacks, interleaved_spacing, sliced_axis
from app.core.types import Spacing, as_size
from app.infer.engines.engine import Engine, device_of, precision_of


class InterleavedEngine:
    """An engine that divides windows into `stacks`, runs another engine on each, and interleaves the logits.

    Stack i has the slices i, i + stacks, ... along `axis` of (D, H, W).
    """

    def __init__(self, engine: Engine, stacks: int, axis: int) -> None:
        self._engine, self.stacks, self._axis = engine, stacks, axis
        self.device, self.precision = device_of(engine), precision_of(engine)

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits (B, L, D, H, W) of windows (B, C, D, H, W)."""
        axis = self._axis + 2
        slices = torch.arange(windows.shape[axis], device=windows.device)
        stacks = [windows.index_select(axis, slices[i :: self.stacks]) for i in range(self.stacks)]
        logits = [self._engine(stack) for stack in stacks]
        return torch.stack(logits, axis + 1).flatten(axis, axis + 1)


def interleaved_engine(engine: Engine, plan: Plan, own: Spacing) -> Engine:
    """Return the engine for a scan of spacing `own` (D, H, W) in mm, on the grid of `interleaved_plan`."""
    stacks, axis = count_stacks(plan.spacing, own), sliced_axis(plan.spacing)
    return engine if stacks == 1 or axis is None else InterleavedEngine(engine, stacks, axis)


def stacks_of(engine: Engine) -> int:
    """Return the number of stacks that an engine divides windows into; 1 for other engines."""
    return engine.stacks if isinstance(engine, InterleavedEngine) else 1


def interleaved_plan(plan: Plan, own: Spacing) -> Plan:
    """Return the plan for a scan of spacing `own` (D, H, W) in mm.

    If the scan is divided into n stacks, grid and patches of that plan have n times as many slices.
    """
    stacks, axis = count_stacks(plan.spacing, own), sliced_axis(plan.spacing)
    if stacks == 1 or axis is None:
        return plan
    factors = [stacks if each == axis else 1 for each in range(3)]
    first, *others = plan.strides
    return replace(
        plan,
        spacing=interleaved_spacing(plan.spacing, own),
        patch=as_size([voxels * factor for voxels, factor in zip(plan.patch, factors, strict=True)]),
        strides=(as_size([n * factor for n, factor in zip(first, factors, strict=True)]), *others),
    )

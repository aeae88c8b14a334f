"""The first stage of a training in two: a small network that finds, on a coarse grid, where labels lie."""

import logging
from collections.abc import Sequence

import numpy as np

from app.core.plan import Plan
from app.core.task import Case, Task
from app.core.types import Spacing, as_spacing
from app.data.prepare.geometry import Geometry, Region
from app.data.prepare.prepare import read_case
from app.data.prepare.region import reference_box
from app.infer.scan.region import locate
from app.models.checkpoint import Locator
from app.models.model import Shape
from app.models.network import NetworkSpec, design, to_device
from app.models.unet import UNetModel
from app.operators.cakes import Cakes
from app.train.run import Training, train_network

log = logging.getLogger(__name__)

_COARSE = UNetModel(
    block="plain", encoder_blocks=2, decoder_blocks=1, deep_supervision=True, decoder_width=0.5
)


def coarse_network(task: Task, plan: Plan) -> NetworkSpec:
    """Return the network of a first stage: the same small U-Net whatever the second is made of."""
    shape = Shape(
        in_channels=len(task.modalities),
        classes=len(task.regions or task.segmented),
        widths=plan.widths,
        strides=plan.strides,
        kernels=plan.kernels,
        patch=plan.patch,
        regions=tuple(task.regions.values()),
    )
    return design(_COARSE, shape, Cakes("12d", 16, None), None)


def train_locator(this: Training, calibrating: Sequence[Case]) -> Locator:
    """Train a first stage, or go on with it, and learn its margin on cases that it has not trained on.

    Raises:
        Interrupted: by the user; the checkpoint is written.
        InputError: as a training does.
    """
    state = train_network(this)
    checkpoint = this.checkpoint(state)
    network = to_device(checkpoint.trained_network(), this.recipe.device)

    def missed(case: Case) -> Spacing | None:
        volume, label_map = read_case(case, this.task)
        found, geometry = locate(network, volume, this.plan)
        wanted = reference_box(label_map.voxels, geometry, this.task.ignore)
        return None if found is None or wanted is None else outside(wanted, found, geometry)

    misses = [miss for miss in this.processes.over(calibrating, missed) if miss is not None]
    margin = learnt_margin(misses, this.plan.spacing)
    log.info(
        "first stage: labels reach up to %s mm out of what it finds in %d cases; margin %s mm",
        *(_rounded(np.max(misses, axis=0).tolist() if misses else (0, 0, 0)), len(misses), _rounded(margin)),
    )
    return Locator(checkpoint.network, this.plan, checkpoint.inference_weights, margin)


def outside(wanted: Region, found: Region, geometry: Geometry) -> Spacing:
    """How far one box reaches out of another, the further side of each axis, in millimetres."""
    sides = zip(wanted.start, wanted.stop, found.start, found.stop, geometry.spacing, strict=True)
    return as_spacing([mm * max(0, low - start, stop - high) for start, stop, low, high, mm in sides])


def learnt_margin(misses: Sequence[Spacing], grid: Spacing) -> Spacing:
    """The margin that would have held every case, and a voxel of the coarse grid more."""
    largest = np.max(misses, axis=0).tolist() if misses else (0.0, 0.0, 0.0)
    return as_spacing([miss + mm for miss, mm in zip(largest, grid, strict=True)])


def _rounded(millimetres: Sequence[float]) -> str:
    return "x".join(f"{mm:.0f}" for mm in millimetres)

"""The first stage of a two-stage training: a small network that finds the labels on a coarse grid."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.core import run_folder
from app.core.plan import Plan
from app.core.task import Case, Task
from app.core.types import Spacing, as_spacing
from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.prepare.geometry import Geometry, Region
from app.data.prepare.prepare import read_case
from app.data.prepare.region import reference_box
from app.data.sample.partial import partial_labels
from app.data.sample.split import Split, inner_split
from app.infer.scan.parts import MaskComponents
from app.infer.scan.region import box_in_scan, locate
from app.losses.losses import dice_ce
from app.losses.targets import Targets
from app.models.checkpoint import LEAST_SHARE, Locator
from app.models.model import shape_for
from app.models.network import NetworkSpec, design, to_device
from app.models.unet import UNetModel
from app.operators.cakes import Cakes
from app.train.fine_tuning import Origin
from app.train.inputs import make_batches, prepare_cases
from app.train.machine.processes import Processes
from app.train.run import train_network
from app.train.training import Recipe, Training

log = logging.getLogger(__name__)

SHARES = (1.0, 0.5, 0.25, 0.1, LEAST_SHARE)
"""Shares that are tried, largest first.

Parts smaller than a share of the largest part's size are taken for mistakes.
"""

_COARSE = UNetModel(
    block="plain", encoder_blocks=2, decoder_blocks=1, deep_supervision=True, decoder_width=0.5
)


def found_in(task: Task) -> Task:
    """Return the task of a first stage: to separate all labels together from background."""
    return replace(task, regions={"found": tuple(range(1, len(task.segmented)))})


def coarse_recipe(recipe: Recipe, task: Task) -> Recipe:
    """Return how to train a first stage: a loss for its one region, no settings of the second stage."""
    from monai.losses.ds_loss import DeepSupervisionLoss  # takes seconds to import and only training needs it

    regions, unknown = found_in(task).regions, partial_labels(task).sets
    targets = Targets.made(task.segmented, regions=regions, ignore=task.ignore, unknown=unknown)
    loss = dice_ce().aimed_at(targets)
    settings = replace(recipe.settings, max_minutes=None, patience=None, accumulate=1)
    settings = replace(settings, freeze=(), layer_decay=None)  # they name layers of the second stage
    settings = replace(settings, ema_decay=None)  # an average over few steps keeps too much of the first ones
    return replace(recipe, loss=DeepSupervisionLoss(loss), settings=settings, measure_speed=False)


def coarse_network(task: Task, plan: Plan) -> NetworkSpec:
    """Return the network of a first stage, a small U-Net that does not depend on the second stage's model."""
    return design(_COARSE, shape_for(task, plan), Cakes("12d", 16, None), None)


def train_first_stage(
    folder: Path,
    task: Task,
    recipe: Recipe,
    plan: Plan,
    *,
    split: Split,
    split_seed: int,
    cache: Cache,
    processes: Processes,
    origin: Origin | None,
) -> Locator:
    """Train the first stage of the run in `folder`, or resume it, in a subfolder.

    `plan` belongs to the first stage, `recipe` to the run. A new first stage begins with the weights of
    `origin`, if there is one.

    Raises:
        Interrupted: the user stopped it; the checkpoint is written.
        InputError: the training failed.
    """
    recipe = recipe.following(plan)
    steps = min(plan.steps, recipe.settings.steps or plan.steps)
    coarse = coarse_recipe(recipe, task)
    settings = replace(coarse.settings.in_minutes(plan.train_minutes), steps=steps)
    coarse, found, inner = replace(coarse, settings=settings), found_in(task), inner_split(split, split_seed)
    plan = replace(plan, batch=math.ceil(plan.batch / processes.count) * processes.count)
    cached = prepare_cases(cache, plan, None, 1.0, processes)
    stage = folder / run_folder.LOCATE
    log.info("first stage: a coarse network learns to find the region")
    cases = [cached[case.id] for case in inner.training]
    training = Training(
        folder=stage,
        recipe=coarse,
        settings=settings,
        task=found,
        plan=plan,
        split=inner,
        network=coarse_network(found, plan),
        batches=make_batches(cases, plan, found, recipe=coarse, settings=settings, processes=processes),
        cached=cached,
        facts={},
        resumed=(stage / run_folder.LAST).is_file(),
        processes=processes,
        origin=origin,
    )
    return train_locator(training, inner.validation)


def train_locator(training: Training, calibrating: Sequence[Case]) -> Locator:
    """Train a first stage, or resume it, and determine its margin and the least share of a part.

    The margin is measured on `calibrating` cases, which the network was not trained on; the share on these
    and on the references of the training cases.

    Raises:
        Interrupted: the user stopped it; the checkpoint is written.
        InputError: the training failed.
    """
    state = train_network(training)
    checkpoint = training.checkpoint(state)
    network = to_device(checkpoint.trained_network(), training.recipe.device)

    def missed(case: Case) -> list[tuple[float, Spacing]]:
        volume, label_map = read_case(case, training.task)
        parts, geometry = locate(network, volume, training.plan)
        wanted = reference_box(label_map.voxels, geometry, training.task.ignore)
        return list(misses_by_share(parts, wanted, geometry).items())  # JSON would turn keys into strings

    misses = [dict(miss) for miss in training.processes.over(calibrating, missed)]
    references = [
        _dropped(training.cached[case.id], training.task.ignore) for case in training.split.training
    ]
    share = learnt_share(misses, references, training.plan.spacing)
    reached = _furthest([miss[share] for miss in misses if miss])
    margin = as_spacing([miss + mm for miss, mm in zip(reached, training.plan.spacing, strict=True)])
    log.info(
        "first stage: labels reach up to %s mm beyond the region it finds in %d cases; margin %s mm; parts "
        "under %.0f %% of the largest are ignored",
        *(_rounded(reached), sum(bool(miss) for miss in misses), _rounded(margin), 100 * share),
    )
    return Locator(checkpoint.network, training.plan, checkpoint.inference_weights, margin, share)


def misses_by_share(parts: MaskComponents, wanted: Region | None, geometry: Geometry) -> dict[float, Spacing]:
    """Return for each of `SHARES` how far the reference's box extends beyond the found parts, in mm.

    Empty if there is no reference or no part.
    """
    if wanted is None or not parts.sizes:
        return {}
    boxes = {share: box_in_scan(parts, geometry, share) for share in SHARES}
    return {share: outside(wanted, box, geometry) for share, box in boxes.items() if box is not None}


def learnt_share(
    misses: Sequence[dict[float, Spacing]], references: Sequence[dict[float, Spacing]], grid: Spacing
) -> float:
    """Return the largest share that loses at most one voxel of the coarse grid more than `LEAST_SHARE`.

    `misses` holds, for each calibrating case, how far its reference extends beyond the parts that were found;
    `references` holds how far each training reference extends beyond its own large parts. Both are in mm; the
    worst case counts.
    """
    lost = {share: _furthest([miss[share] for miss in misses if miss]) for share in SHARES}
    dropped = {share: _furthest([miss[share] for miss in references if miss]) for share in SHARES}
    for share in SHARES:
        spared = zip(lost[share], lost[LEAST_SHARE], dropped[share], grid, strict=True)
        if all(far - least <= mm and gone <= mm for far, least, gone, mm in spared):
            return share
    return LEAST_SHARE


def outside(wanted: Region, found: Region, geometry: Geometry) -> Spacing:
    """Return how far one box extends beyond another on the worse side of each axis, in millimetres."""
    sides = zip(wanted.start, wanted.stop, found.start, found.stop, geometry.spacing, strict=True)
    return as_spacing([mm * max(0, low - start, stop - high) for start, stop, low, high, mm in sides])


def _dropped(case: CachedCase, ignore: int | None) -> dict[float, Spacing]:
    """Return how far the reference of a prepared case extends beyond its own large parts, in mm by share."""
    labels, geometry = case.labels().whole(np.int64)[0], case.geometry()
    parts = MaskComponents.of((labels > 0) & (labels != (-1 if ignore is None else ignore)))
    return misses_by_share(parts, box_in_scan(parts, geometry, LEAST_SHARE), geometry)


def _furthest(misses: Sequence[Spacing]) -> Spacing:
    return as_spacing(np.max(misses, axis=0).tolist()) if misses else (0.0, 0.0, 0.0)


def _rounded(millimetres: Sequence[float]) -> str:
    return "x".join(f"{mm:.0f}" for mm in millimetres)

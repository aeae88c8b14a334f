"""A training small enough for a test, put together by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from monai.losses import DeepSupervisionLoss, DiceCELoss
from omegaconf import OmegaConf
from torch import nn

from app.core.plan import Plan
from app.core.task import Task
from app.core.types import Size
from app.data.plan.fingerprint import read_fingerprint
from app.data.plan.planner import make_plan
from app.data.prepare.cache import Cache
from app.data.prepare.cached_case import CachedCase
from app.data.sample.augment import Augment
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from app.data.sets.decathlon import read_task
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import Checkpoint
from app.models.model import Shape
from app.models.network import NetworkSpec, design, to_device
from app.models.unet import UNetModel
from app.operators import ConvSpec, Operator
from app.operators.cakes import Cakes
from app.train.loop import train
from app.train.settings import TrainSettings
from app.train.state import TrainingState
from app.train.validate import validation_dice
from tests.support.config import AUTO, NONE

CPU = torch.device("cpu")


SETTINGS = TrainSettings(
    steps=6,
    epoch_steps=2,
    max_minutes=None,
    patience=None,
    clip_norm=12.0,
    ema_decay=0.9,
    validation_cases=None,
)


SLIDING = SlidingSettings(overlap=0.25, windows=2, mirror_axes=())


@dataclass
class Bench:
    """A task, its plan and prepared cases, and a network for them."""

    task: Task
    plan: Plan
    cached: list[CachedCase]
    network: NetworkSpec

    def batches(self) -> BatchSource:
        settings = replace(NONE, rotate=0.5, noise=0.5, flip_axes=(0, 1, 2))
        margin = settings.margin(self.plan.patch, self.plan.spacing)
        sampler = PatchSampler(
            self.cached[1:], size=self.plan.patch, margin=margin, batch=2, foreground_share=0.5, seed=0
        )
        chain = Augment(settings, patch=self.plan.patch, spacing=self.plan.spacing)
        return BatchSource(sampler, chain, seed=0)

    def state(
        self, settings: TrainSettings = SETTINGS, device: torch.device = CPU, *, rate: float = 0.01
    ) -> TrainingState:
        torch.manual_seed(0)
        network = to_device(self.network.build(), device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=settings.steps, power=0.9)
        return TrainingState(network, optimizer, schedule, settings)

    def checkpoint(self, state: TrainingState) -> Checkpoint:
        weights, averaged, training = state.export()
        return Checkpoint(
            self.network,
            self.plan,
            self.task.modalities,
            self.task.labels,
            weights,
            averaged,
            training,
            values=self.task.values,
        )

    def train(self, state: TrainingState, settings: TrainSettings = SETTINGS, **changes: Any) -> str:
        judge = partial(
            validation_dice,
            cases=self.cached[:1],
            task=self.task,
            plan=self.plan,
            sliding=SLIDING,
        )
        loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))
        arguments = {
            "validate": lambda network, epoch: judge(network),
            "save": lambda state, best: None,
            "stop": lambda: False,
            "loss": loss,
            **changes,
        }
        batches = arguments.pop("batches", None) or self.batches()
        loss = arguments.pop("loss")
        return train(state, batches, loss, settings=settings, **arguments)


def make_bench(folder: Path, cache_folder: Path) -> Bench:
    """Blobs, a two-level CAKES U-Net of width 4, patches of 16 voxels."""
    task = read_task(folder)
    cache = Cache(cache_folder, task, workers=2)
    wanted = replace(AUTO, patch=(16, 16, 16), base_width=4, max_levels=2)
    plan, _ = make_plan(read_fingerprint(cache), task, wanted)
    shape = Shape(1, 2, plan.widths, plan.strides, plan.kernels)
    network = design(UNetModel("plain", 1, 1, True), shape, Cakes("12d", 1, None), None)
    return Bench(task, plan, list(cache.prepare(plan).values()), network)


class Slope(nn.Module):
    """Grows along D: its mirror average is constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(x.shape[2], dtype=x.dtype)[None, None, :, None, None].expand(*x.shape) + 0 * x


def mixing_network() -> nn.Module:
    """What a voxel becomes depends on where in the window it lies."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 4, 5, padding=2), nn.GroupNorm(4, 4), nn.Tanh(), nn.Conv3d(4, 3, 1)
    ).eval()


SPEC_SIZE: Size = (7, 9, 6)
SPECS = [
    ConvSpec("encoder.0.0", 1, 16, (3, 3, 3), (1, 1, 1), SPEC_SIZE),
    ConvSpec("encoder.1.0", 6, 20, (3, 3, 3), (2, 2, 2), SPEC_SIZE),
    ConvSpec("encoder.2.0", 6, 10, (1, 3, 3), (1, 2, 2), SPEC_SIZE),
    ConvSpec("decoder.0.0", 8, 5, (3, 3, 3), (1, 1, 1), SPEC_SIZE),
]


OPERATORS: dict[str, dict[str, Any]] = {
    **{path.stem: {} for path in sorted(Path("conf/op").glob("*.yaml")) if path.stem != "supernet"},
    "dicenet block": {"form": "block"},
    "antblock by level": {"expansion": [1, 6, 6], "reduction": [8, 8, 12], "kernel": 5, "squeeze": "mean"},
    "rolling grouped": {"overlap": None, "convolutions": {"encoder.0.0": {"groups": 4, "overlap": 0.5}}},
    "shift address": {"mode": "address", "shortcut": 0.0},
}
"""Every choice of `op` that computes the same each time, and further settings of some; see `bound`."""


def bound(option: str, convs: Sequence[ConvSpec] = SPECS) -> Operator:
    values = OmegaConf.load(f"conf/op/{option.partition(' ')[0]}.yaml")
    operator = instantiate(OmegaConf.merge(values, OPERATORS.get(option, {})), _convert_="all")
    assert isinstance(operator, Operator)
    return operator.bind(convs)


def sampler(cases: list[CachedCase], seed: int = 0, share: float = 0.5) -> PatchSampler:
    return PatchSampler(cases, size=(4, 4, 4), margin=(6, 6, 6), batch=2, foreground_share=share, seed=seed)

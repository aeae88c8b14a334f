"""Mixed convolutions as one dense call: the same numbers, and chosen where a clock says they are faster."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from app.core.kernel import Kernel
from app.core.types import Size
from app.layers.device_policy import DevicePolicy
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators import merging
from app.operators.cakes import Cakes
from app.operators.merging import merge_faster, use_recorded
from app.operators.mixed import MixedConv3d

CPU = torch.device("cpu")
GROUPS = [
    ["1x3x3", "3x1x1", "1x1x1"],
    ["1x3x1", "1x1x3"],
    ["3x3x3d2", "1x5x5", "3x3x3"],
    ["1x3x3d3", "3x1x1d2"],
]


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("kernels", GROUPS)
def test_one_dense_call_computes_what_the_groups_do(kernels: list[str], stride: Size) -> None:
    torch.manual_seed(0)
    module = MixedConv3d(5, {Kernel.parse(kernel): 3 + i for i, kernel in enumerate(kernels)}, stride)
    x = torch.randn(2, 5, 9, 8, 7)
    found = {}
    for merged in (False, True):
        module.merged = merged
        module.zero_grad()
        y = module(x)
        (y * torch.linspace(0, 1, y.numel()).view_as(y)).sum().backward()
        found[merged] = [y.detach(), *(weight.grad.clone() for weight in module.parameters())]
    for one, other in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def network() -> nn.Module:
    torch.manual_seed(0)
    shape = Shape(1, 2, (6, 12), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (3, 3, 3)))
    return design(UNetModel("plain", 1, 1, False), shape, Cakes("12d", 1, None), None).build()


def merged(network: nn.Module) -> dict[str, bool]:
    modules = network.named_modules()
    return {name: module.merged for name, module in modules if isinstance(module, MixedConv3d)}


def test_what_is_faster_is_merged_and_kept_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock for which every other convolution is faster in one call."""
    image, subject = torch.randn(1, 1, 8, 8, 8), network()
    wanted = subject(image)
    ticks = iter([2.0, 1.0, 1.0, 2.0] * 10)

    def clock(work: Callable[[], object], device: torch.device) -> float:
        work()
        return next(ticks)

    faster = merge_faster(subject, image, torch.float32, tmp_path, seconds=clock)
    names = list(merged(subject))
    assert len(names) > 2 and faster == [name for name in names if merged(subject)[name]] == names[::2]
    torch.testing.assert_close(subject(image), wanted, atol=1e-5, rtol=1e-4)
    assert all(weight.grad is None for weight in subject.parameters())
    assert json.loads((tmp_path / "merged.json").read_text(encoding="utf-8")) == {"cpu": faster}

    resumed = network()
    assert use_recorded(resumed, tmp_path, CPU) and not any(merged(resumed).values())  # a CPU never merges
    eager = DevicePolicy(torch.contiguous_format, half=False, native_norm=False, benchmark=False, merges=True)
    monkeypatch.setattr(merging, "policy_of", lambda _: eager)
    assert use_recorded(resumed, tmp_path, CPU) and merged(resumed) == merged(subject)
    assert not use_recorded(network(), tmp_path / "none", CPU)

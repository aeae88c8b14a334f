from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.layers.candidates import CANDIDATES, SeparateCandidates, SharedCandidates, cover_of
from app.layers.cost import Cost
from app.operators import ConvSpec, operator_from
from app.operators.searched import SearchedConv3d
from app.operators.supernet import PATHS, SampledConv3d, SuperNet
from app.operators.vocabulary import KERNEL_SETS, vocabulary

CONV = ConvSpec("encoder.1.0", 5, 12, (3, 3, 3), (2, 2, 2))
SUPER = SuperNet("123d", "encoder", "sampled", "shared", 0.1)


def built(weights: str, kernels: str | list[str] = "123d") -> SampledConv3d:
    torch.manual_seed(0)
    operator = SuperNet(kernels, "encoder", "sampled", weights, 0.1).bind([CONV])
    module = operator.build(CONV)
    assert isinstance(module, SampledConv3d)
    return module


def path(module: SampledConv3d, x: torch.Tensor, index: int) -> torch.Tensor:
    """The candidate of one kernel, by a convolution of its own."""
    kernel = module.kernels[index]
    padding = [voxels // 2 for voxels in kernel.extent]
    weight = module.candidates.of(index)
    return F.conv3d(x, weight, None, module.stride, padding, dilation=kernel.dilation)


@pytest.mark.parametrize("kernels", ["123d", ["1x1x1", "5x1x1", "3x3x3d2", "1x3x3"]])
@pytest.mark.parametrize("weights", CANDIDATES)
def test_one_dense_convolution_stands_for_all_candidates(weights: str, kernels: str | list[str]) -> None:
    """Each slot has the very output of the candidate it chose."""
    module = built(weights, kernels).eval()
    chosen = torch.arange(12) % len(module.kernels)
    module.keep(chosen)
    x = torch.randn(2, 5, 8, 9, 7)
    y = module(x)
    for slot, index in enumerate(chosen.tolist()):
        torch.testing.assert_close(y[:, slot], path(module, x, index)[:, slot], atol=1e-5, rtol=1e-5)


def test_a_dead_candidate_is_never_drawn() -> None:
    module = built("separate").train()
    module.keep(torch.full((12,), 2))
    x = torch.randn(1, 5, 8, 8, 8)
    for _ in range(5):
        torch.testing.assert_close(module(x), path(module, x, 2), atol=1e-5, rtol=1e-5)


def test_kernels_are_drawn_as_often_as_their_gates_say() -> None:
    module = built("shared")
    module.gates.data[0] += 0.1 * torch.log(torch.tensor(6.0))  # 6 : 1 : 1 : 1 : 1 : 1 : 1
    torch.testing.assert_close(module.probabilities()[:, 0], torch.tensor([0.5] + 6 * [1 / 12]))
    drawn = sum(module._choice().detach() for _ in range(400)) / 400
    assert abs(float(drawn[0].mean()) - 0.5) < 0.03
    assert torch.equal(module.eval()._choice(), torch.eye(7)[:, :1].expand(7, 12))


def test_its_cost_is_that_of_all_candidates_together() -> None:
    """An input of 8 x 9 x 7 with stride 2 gives 4 x 5 x 4 = 80 voxels; the seven kernels have 63 taps.

    Drawing has a gate per kernel and channel, and runs as one dense kernel; paths have two weights per norm.
    """
    for paths, weights, wanted in (
        ("sampled", "shared", Cost(5 * 12 * 27 + 7 * 12, 5 * 12 * 27 * 80)),
        ("sampled", "separate", Cost(5 * 12 * 63 + 7 * 12, 5 * 12 * 27 * 80)),
        ("concatenated", "separate", Cost(5 * 12 * 63 + 2 * 7 * 12, 5 * 12 * 63 * 80)),
    ):
        operator = replace(SUPER, paths=paths, weights=weights).bind([CONV])
        assert operator.cost(CONV, (8, 9, 7)) == wanted


@pytest.mark.parametrize("weights", CANDIDATES)
def test_gradient_reaches_weights_and_gates_and_eval_repeats_itself(weights: str) -> None:
    module = built(weights)
    x = torch.randn(1, 5, 8, 8, 8)
    total = sum(module(x).square().mul(torch.arange(4.0)[:, None, None]).sum() for _ in range(20))
    total.backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    module.eval()
    assert torch.equal(module(x), module(x))


def test_only_what_is_named_is_searched() -> None:
    other = replace(CONV, name="decoder.0.0")
    for where, names in (
        ("encoder", ["encoder.1.0"]),
        ("all", [CONV.name, other.name]),
        (["decoder.0.0"],) * 2,
    ):
        bound = replace(SUPER, where=where).bind([CONV, other])
        searched = [c.name for c in (CONV, other) if isinstance(bound.build(c), SearchedConv3d)]
        assert searched == names
        assert operator_from(bound.describe()) == bound
    with pytest.raises(InputError, match="where") as error:
        replace(SUPER, where=["stem"]).bind([CONV])
    for token in ("stem", "all", CONV.name):
        assert token in str(error.value)


def test_coarse_axes_have_no_taps() -> None:
    flat = replace(CONV, kernel=(1, 3, 3))
    assert [str(kernel) for kernel in SUPER.bind([flat]).candidates(flat)] == [  # type: ignore[attr-defined]
        *("1x1x1", "1x3x1", "1x1x3", "1x3x3")
    ]


def test_shared_weights_are_one_and_separate_ones_many() -> None:
    kernels = vocabulary("123d", "")
    assert cover_of(kernels) == (3, 3, 3) and cover_of([Kernel((3, 1, 5), 2)]) == (5, 1, 9)
    assert sum(p.numel() for p in SharedCandidates(2, 4, kernels).parameters()) == 2 * 4 * 27
    assert sum(p.numel() for p in SeparateCandidates(2, 4, kernels).parameters()) == 2 * 4 * 63


def test_impossible_settings_are_named() -> None:
    for changes, allowed in (
        ({"paths": "some"}, PATHS),
        ({"weights": "none"}, CANDIDATES),
        ({"kernels": "5d"}, KERNEL_SETS),
        ({"temperature": 0.0}, ()),
    ):
        ((key, value),) = changes.items()
        with pytest.raises(InputError, match=key) as error:
            replace(SUPER, **changes)
        for token in (str(value), *allowed):
            assert token in str(error.value)


def test_fixed_chances_are_drawn_by_and_not_trained() -> None:
    chances = [0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05]
    operator = replace(SUPER, chances={CONV.name: chances}, unit=4).bind([CONV])
    module = operator.build(CONV)
    assert isinstance(module, SampledConv3d)
    torch.testing.assert_close(module.probabilities(), torch.tensor(chances)[:, None].expand(7, 12))
    assert not module.gates.requires_grad
    assert operator_from(operator.describe()) == operator


def test_units_draw_together_and_are_as_many_as_allowed() -> None:
    operator = replace(SUPER, unit=2, most_units=3)
    module = operator.bind([CONV]).build(CONV)
    assert isinstance(module, SampledConv3d)
    assert (module.unit, module.gates.shape) == (4, (7, 3))
    for _ in range(5):
        kernels = module._choice().argmax(dim=0)
        assert torch.equal(kernels, kernels[::4].repeat_interleave(4))
    assert module.scores().shape == (7, 12)

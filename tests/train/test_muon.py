"""Muon: singular values near 1, Adam for norms and biases, and the same state after saving and loading."""

import copy

import pytest
import torch
from torch import Tensor, nn

from app.train.muon import Muon, orthogonal


def network() -> nn.Module:
    torch.manual_seed(0)
    parts = [
        nn.Conv3d(2, 6, 3),
        nn.InstanceNorm3d(6, affine=True),
        nn.Conv3d(6, 6, (1, 3, 3)),
        nn.Conv3d(6, 3, 1),
    ]
    return nn.Sequential(*parts)


def trained(parts: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> None:
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        parts(torch.randn(2, 2, 5, 6, 7)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(2, 5, 40), (1, 30, 7), (3, 4, 4)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    found = orthogonal(matrices)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ found @ right.mT
    torch.testing.assert_close(turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-9, rtol=0)


def test_the_polynomial_is_applied_to_every_singular_value() -> None:
    values = torch.tensor([0.8, 0.5, 0.2, 0.01], dtype=torch.float64)
    expected = values / values.norm()
    for _ in range(5):
        expected = 3.4445 * expected - 4.775 * expected**3 + 2.0315 * expected**5
    torch.testing.assert_close(orthogonal(torch.diag(values)[None])[0], torch.diag(expected))


def test_a_gradient_of_zero_changes_nothing() -> None:
    assert not orthogonal(torch.zeros(1, 3, 5)).any()


def test_one_step_of_a_convolution_by_hand() -> None:
    weight = nn.Parameter(torch.zeros(2, 3, 1, 1, 1))
    weight.grad = torch.tensor([[3.0, 0, 0], [0, 0, 0.6]])[..., None, None, None]
    weight.data.fill_(1.0)
    Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.5).step()
    gradient = torch.tensor([[[3.0, 0, 0], [0, 0, 0.6]]])
    decayed, change = 1 - 0.1 * 0.5, orthogonal(gradient)[0] * 3**0.5
    torch.testing.assert_close(weight.data.flatten(1), decayed - 0.1 * change)


def test_the_momentum_looks_one_gradient_ahead() -> None:
    weight = nn.Parameter(torch.zeros(2, 2, 1, 1, 1))
    optimizer, mean = Muon([weight], lr=1.0, momentum=0.75, weight_decay=0.0), torch.zeros(2, 2)
    for gradient in (torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[0.0, 4], [1, 0]])):
        before = weight.data.flatten(1).clone()
        weight.grad = gradient.view_as(weight)
        optimizer.step()
        mean = 0.75 * mean + 0.25 * gradient
        ahead = orthogonal((0.75 * mean + 0.25 * gradient)[None])[0]
        torch.testing.assert_close(weight.data.flatten(1), before - 2**0.5 * ahead)


def test_the_update_of_every_convolution_is_as_large_as_the_rate() -> None:
    parts = network()
    before = copy.deepcopy(parts)
    trained(parts, Muon(parts.parameters(), lr=0.01, weight_decay=0.0), 1)
    for name, weight in parts.named_parameters():
        if weight.ndim > 2:
            size = (weight - before.get_parameter(name)).square().mean().sqrt()
            assert 0.006 < size < 0.013, name


def test_norms_and_biases_are_trained_by_adamw() -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(3))]
    theirs = [nn.Parameter(values.detach().clone()) for values in ours]
    optimizers = (
        Muon(ours, lr=0.01, weight_decay=0.1),
        torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1),
    )
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close([*ours], [*theirs])


def test_convolutions_of_equal_sizes_do_not_influence_each_other() -> None:
    together, alone = [
        [nn.Parameter(torch.ones(4, 2, *size)) for size in ((3, 1, 1), (1, 1, 3))] for _ in "ab"
    ]
    for first, second in zip(together, alone, strict=True):
        torch.manual_seed(first.shape[2])
        first.grad = torch.randn_like(first)
        second.grad = first.grad.clone()
    Muon(together).step()
    for one in alone:
        Muon([one]).step()
    torch.testing.assert_close(together, alone)


def test_training_goes_on_in_the_same_way_after_loading() -> None:
    first = network()
    optimizer = Muon(first.parameters(), lr=0.01)
    trained(first, optimizer, 3)
    second = copy.deepcopy(first)
    again = Muon(second.parameters(), lr=0.01)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    trained(first, optimizer, 3, seed=2)
    trained(second, again, 3, seed=2)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)


def test_parameters_without_a_gradient_stay() -> None:
    frozen, weight = nn.Parameter(torch.ones(2, 2, 1, 1, 1)), nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    Muon([frozen, weight], lr=0.1).step()
    assert torch.equal(frozen, torch.ones_like(frozen)) and not torch.equal(weight, torch.ones(2))


def test_a_closure_is_computed_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Muon([weight], lr=0.1)

    def loss() -> float:
        optimizer.zero_grad()
        value: Tensor = weight.square().sum()
        value.backward()
        return value.item()

    assert optimizer.step(loss) == 3.0
    assert (weight < 1).all()


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"momentum": 1.0}, {"betas": (0.9, 1.5)}, {"eps": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Muon([nn.Parameter(torch.ones(1))], **settings)  # type: ignore[arg-type]

"""Muon: an optimizer that changes the weights of convolutions equally in all directions.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024
(https://kellerjordan.github.io/posts/muon/).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

_ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)  # as published: the steepest at 0, and within 0.7 to 1.2 afterwards


class Muon(torch.optim.Optimizer):
    """Muon for the weights of convolutions, and Adam with decoupled weight decay for norms and biases.

    The mean gradient of a convolution, as a matrix (outputs, inputs * taps), is replaced by a matrix with the
    same singular vectors whose singular values are all near 1. Directions with small gradients are thus
    learnt as fast as others. The update is scaled so that the root mean square of its entries is about `lr`,
    as that of Adam's first updates; one rate therefore suits both (Liu et al., arXiv 2502.16982, with 0.2
    `lr`).
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.004,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        """Take parameters or groups of them.

        Args:
            params: Parameters, or groups with settings of their own.
            lr: Learning rate.
            momentum: Share of the previous mean gradient that each step keeps, for convolutions.
            weight_decay: Strength of the pull of all parameters towards zero.
            betas: The same shares for Adam's means of gradients and of squared gradients.
            eps: Added to Adam's divisor.

        Raises:
            ValueError: a setting is out of range.
        """
        if not (lr >= 0 and weight_decay >= 0 and eps >= 0):
            raise ValueError("lr, weight_decay and eps must not be negative")
        if not all(0 <= share < 1 for share in (momentum, *betas)):
            raise ValueError("momentum and betas must be at least 0 and below 1")
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient; return what `closure` returns."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            trained = [one for one in group["params"] if one.grad is not None]
            for one in trained:
                one.mul_(1 - group["lr"] * group["weight_decay"])
            self._turn([one for one in trained if one.ndim > 2], group)
            for one in trained:
                if one.ndim <= 2:
                    self._adapt(one, group)
        return value

    def _turn(self, weights: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Update the weights of convolutions; those of equal sizes as a matrix are computed together."""
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for weight in weights:
            alike.setdefault((len(weight), weight[0].numel()), []).append(weight)
        for sizes, same in alike.items():
            ahead = torch.stack([self._ahead(weight, group["momentum"]).flatten(1) for weight in same])
            rate = group["lr"] * max(sizes) ** 0.5
            for weight, change in zip(same, orthogonal(ahead), strict=True):
                weight.sub_(change.view_as(weight), alpha=rate)

    def _ahead(self, weight: Tensor, share: float) -> Tensor:
        """Add the gradient to its mean; return the mean as it will be if the next gradient is the same."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        state["mean"].lerp_(weight.grad, 1 - share)
        return weight.grad.lerp(state["mean"], share)

    def _adapt(self, values: Tensor, group: dict[str, Any]) -> None:
        """Update a norm or a bias by Adam."""
        assert values.grad is not None
        state, (first, second) = self.state[values], group["betas"]
        if not state:
            state.update(mean=torch.zeros_like(values), square=torch.zeros_like(values), steps=0)
        state["steps"] += 1
        state["mean"].lerp_(values.grad, 1 - first)
        state["square"].mul_(second).addcmul_(values.grad, values.grad, value=1 - second)
        divisor = (state["square"] / (1 - second ** state["steps"])).sqrt_().add_(group["eps"])
        values.addcdiv_(state["mean"], divisor, value=-group["lr"] / (1 - first ** state["steps"]))


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices with the singular vectors of (n, rows, columns) and singular values near 1.

    A Newton-Schulz iteration: each step applies an odd polynomial to the singular values. It is computed with
    the products of rows (or of columns, if these are fewer), which are small, and applied at the end.
    """
    rows, columns = matrices.shape[1:]
    if rows > columns:
        return orthogonal(matrices.mT).transpose(1, 2)
    scaled = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    squares = torch.bmm(scaled, scaled.mT)
    identity = torch.eye(rows, dtype=matrices.dtype, device=matrices.device)
    factor = identity
    first, third, fifth = _QUINTIC
    for iteration in range(_ITERATIONS):
        applied = torch.baddbmm(first * identity + third * squares, squares, squares, alpha=fifth)
        factor = torch.bmm(applied, factor) if iteration else applied
        if iteration < _ITERATIONS - 1:
            squares = torch.bmm(torch.bmm(applied, squares), applied)
    return torch.bmm(factor, scaled)

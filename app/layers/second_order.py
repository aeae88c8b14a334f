"""Gradients that can themselves be differentiated, for functions whose gradient is written by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor


def differentiable_grads(output: Tensor, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor | None]:
    """Return the gradient of each input, None for those that need none.

    For the `backward` of an autograd function when gradients are enabled there: then somebody takes a second
    derivative, which PyTorch would silently get wrong from operations it did not record. `output` is the
    function's value, computed again from its saved inputs by operations that PyTorch differentiates.
    """
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]

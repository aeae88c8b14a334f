"""Second derivatives of autograd functions whose gradient is written by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor


def differentiable_grads(output: Tensor, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor | None]:
    """Return the gradient of each input, None for inputs that need none, as differentiable tensors.

    Use it in the `backward` of an autograd function if gradients are enabled there, which means that a second
    derivative is requested. From operations it did not record, PyTorch would compute that wrongly without an
    error. `output` is the function's value, computed again from its saved inputs by recorded operations.
    """
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]

"""What logits mean: the one place where a network's outputs become labels, probabilities and certainty."""

import torch
from torch import Tensor

_SURE = 30.0  # a logit so far below the others that its probability is zero in float32


def labels_of(logits: Tensor) -> Tensor:
    """Logits (L, ...) -> classes (...), uint8 or int16: the largest, ties the lower."""
    chosen = logits.max(dim=0).indices  # twice as fast as argmax over the first axis
    return chosen.to(torch.uint8 if len(logits) <= 256 else torch.int16)


def probabilities_of(logits: Tensor) -> Tensor:
    """Logits (L, ...) -> class probabilities (L, ...), which sum to 1 over L."""
    return logits.softmax(dim=0)


def entropy_of(logits: Tensor) -> Tensor:
    """Logits (L, ...) -> entropy (...) of the class probabilities, in bits: 0 is certain, log2(L) a guess."""
    logs = logits.log_softmax(dim=0)
    return -(logs.exp() * logs).sum(dim=0) / torch.log(torch.tensor(2.0))


def certainty_of(logits: Tensor) -> Tensor:
    """Logits (L, ...) -> the probability (...) of the label that `labels_of` chooses."""
    return 1 / (logits - logits.amax(dim=0, keepdim=True)).exp_().sum(dim=0)


def background_logits(logits: Tensor) -> Tensor:
    """One logit per output (L,), as `logits` (L, ...) has them, that say background without a doubt."""
    values = logits.new_full((logits.shape[0],), -_SURE)
    values[0] = 0
    return values

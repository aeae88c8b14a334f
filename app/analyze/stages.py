"""The stage-level optimiser: moves blocks between stages under a budget, without training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from app.analyze.convolutions import layers, objective
from app.core.errors import InputError
from app.core.types import Size
from app.models.network import NetworkSpec
from app.models.unet import UNetModel

BlockCounts = tuple[int, ...]


@dataclass(frozen=True)
class Arranged:
    """A model with moved blocks, and the mean score before and after."""

    model: UNetModel
    before: float
    after: float


def arrange(
    spec: NetworkSpec,
    patch: Size,
    *,
    measure: str,
    budget: float,
    advance: Callable[[], None],
) -> Arranged:
    """Move one block at a time to where the mean score gains most, within the budget.

    `budget` is a share of the network's own cost in `measure` (params or macs). The search stops when no move
    gains. Ties are won by the first in the order of stages, so the result is deterministic. `advance` is
    called after each move.

    Raises:
        InputError: the model has no blocks to move.
    """
    if not isinstance(spec.model, UNetModel):
        raise InputError("analyze.optimise: got stage, which moves the blocks of model=unet or resunet")
    model, levels = spec.model, len(spec.shape.widths)
    most = budget * getattr(spec.cost(patch), measure)

    @cache
    def value(counts: BlockCounts) -> float | None:
        """Return the mean score for a number of blocks per stage; None if it is over the budget."""
        moved = replace(spec, model=divided(model, counts, levels))
        if getattr(moved.cost(patch), measure) > most:
            return None
        return objective(layers(moved, patch))

    counts = (*model.blocks("encoder", levels), *model.blocks("decoder", levels - 1))
    before = best = objective(layers(spec, patch))
    while True:
        moves = [(value(moved), moved) for moved in _moves(counts)]
        allowed = [(gained, moved) for gained, moved in moves if gained is not None and gained > best + 1e-12]
        if not allowed:
            return Arranged(divided(model, counts, levels), before, best)
        best, counts = max(allowed, key=lambda move: move[0])
        advance()


def divided(model: UNetModel, counts: BlockCounts, levels: int) -> UNetModel:
    """Return the model with these numbers of blocks per level, encoder first."""
    return replace(model, encoder_blocks=counts[:levels], decoder_blocks=counts[levels:])


def _moves(counts: BlockCounts) -> Iterator[BlockCounts]:
    """Yield the counts after moving one block from a stage with at least two to any other."""
    for source, count in enumerate(counts):
        for target in range(len(counts)):
            if count > 1 and target != source:
                yield tuple(n + (i == target) - (i == source) for i, n in enumerate(counts))

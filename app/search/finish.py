"""The end of a race: its finalists, their duel, and what is known of the winner."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from app.core.layout import Layout
from app.models.checkpoint import Checkpoint
from app.search.guess import Guess
from app.search.race_record import RaceEntry

_LEAST = 3  # networks that a rank correlation needs


@dataclass(frozen=True)
class Finalist:
    """One of the last networks, and how it was judged."""

    number: int
    estimate: float
    """Estimated loss before the last rung, apart from a constant."""
    loss: float
    again: float
    """With fresh weights of another seed."""


@dataclass(frozen=True)
class Duel:
    """The comparison of the best challenger with network 0, the planned one, by all losses of a race."""

    challenger: int
    """Its number."""
    lead: float
    """How much lower its estimated loss is, in standard deviations of the first losses."""
    error: float
    """The standard deviation of the lead, in the same unit."""

    @property
    def won(self) -> bool:
        """Whether the challenger leads by at least one standard deviation.

        The best of several noisy estimates is too good on average, so that a smaller lead shows nothing.
        """
        return self.lead > 0 and self.lead >= self.error


@dataclass(frozen=True)
class Finish:
    """The result of a race: the winner, its checkpoint, times and the losses of the finalists."""

    winner: Layout
    checkpoint: Checkpoint
    number: int
    """The winner's."""
    contestants: int
    """Networks that were trained."""
    train_seconds: float
    judge_seconds: float
    draw_seconds: float
    finalists: list[Finalist]
    """Best estimate first."""
    duel: Duel | None
    """None if network 0 or all others left the race."""
    agreement: float | None
    """See `agreement`, for the last rung before the final."""


def duel(finalists: Sequence[RaceEntry], guess: Guess) -> Duel | None:
    """Compare the best challenger among the finalists with network 0; None unless both are there."""
    planned = next((one for one in finalists if one.number == 0), None)
    challenger = min((one for one in finalists if one.number != 0), key=guess.of, default=None)
    if planned is None or challenger is None:
        return None
    lead = guess.of(planned) - guess.of(challenger)
    return Duel(challenger.number, lead, guess.error(challenger, planned))


def agreement(before: Guess, rung: Sequence[RaceEntry]) -> float | None:
    """Return Spearman's rank correlation of estimates before a rung with the losses in it.

    None for fewer than three networks whose loss is finite, or if their estimates or losses are all equal.
    """
    pairs = [(before.of(one), one.rank) for one in rung if one.loss is not None]
    if len(pairs) < _LEAST or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(pairs).statistic)

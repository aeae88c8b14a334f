"""A guess at the loss of a network that has not raced, from those that have: ridge regression."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from app.core.layout import Layout
from app.search.race_record import Entry

_RIDGE = 1.0  # for features whose spread over networks is about .3, and losses of unit spread
_LEAST = 4  # networks to learn from


@dataclass(frozen=True)
class Guess:
    """What a unit of each feature adds to the loss, in standard deviations within a rung."""

    weights: Mapping[str, float]

    def __call__(self, layout: Layout) -> float:
        """Guess the loss of a network, apart from a constant; the lower, the better."""
        return sum(self.weights.get(name, 0.0) * value for name, value in _features(layout).items())

    def worth(self, layout: Layout) -> dict[str, dict[str, float]]:
        """Return by convolution how much better each kernel is than the others: above 1 if it is."""
        kernels = sorted({str(kernel) for counts in layout.convolutions.values() for kernel in counts})
        found = {}
        for name in layout.convolutions:
            added = {kernel: self._added(name, kernel, len(layout.convolutions)) for kernel in kernels}
            mean = fmean(added.values())
            found[name] = {kernel: math.exp(mean - value) for kernel, value in added.items()}
        return found

    def _added(self, name: str, kernel: str, convolutions: int) -> float:
        """What the kernel in all channels of one convolution adds to the loss."""
        own, all_over = self.weights.get(f"{name} {kernel}", 0.0), self.weights.get(kernel, 0.0)
        return own + all_over / convolutions


def learn_guess(rungs: Sequence[Sequence[Entry]]) -> Guess:
    """Learn from all networks that were judged; without enough of them all guesses are 0.

    Losses are compared with the mean of their rung, so that rungs of other lengths add up. Features are the
    shares of kernels, of each convolution and on average, the widths, the decoder and the levels.
    """
    seen: list[dict[str, float]] = []
    losses: list[float] = []
    for rung in rungs:
        known = [entry for entry in rung if entry.loss is not None]
        values = np.array([entry.rank for entry in known])
        if len(values) >= _LEAST and values.std() > 0:
            seen += [_features(entry.layout) for entry in known]
            losses += ((values - values.mean()) / values.std()).tolist()
    names = sorted({name for features in seen for name in features})
    if not names:
        return Guess({})
    rows = np.array([[features.get(name, 0.0) for name in names] for features in seen])
    rows -= rows.mean(axis=0)
    weights = rows.T @ np.linalg.solve(rows @ rows.T + _RIDGE * np.eye(len(rows)), np.array(losses))
    return Guess(dict(zip(names, weights.tolist(), strict=True)))


def _features(layout: Layout) -> dict[str, float]:
    network = layout.network
    assert network is not None
    found = {f"levels {network.strides}": 1.0, "decoder": math.log2(network.decoder_width)}
    deepest = len(network.widths) - 1
    for level, width in enumerate(network.widths):
        found[f"width {deepest - level} from below"] = math.log2(width)
    for name, counts in layout.convolutions.items():
        channels = sum(counts.values())
        for kernel, count in counts.items():
            share = count / channels
            found[f"{name} {kernel}"] = share
            found[str(kernel)] = found.get(str(kernel), 0.0) + share / len(layout.convolutions)
    return found

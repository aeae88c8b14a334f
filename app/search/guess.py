"""Ridge regression that predicts the loss of a network from the networks evaluated so far."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from app.core.layout import Layout
from app.search.race_record import RaceEntry

_RIDGE = 1.0  # features have a standard deviation of about .3 over networks, losses of 1
_LEAST = 4  # networks of a rung to learn from


@dataclass(frozen=True)
class Guess:
    """A linear model of the loss: the weight of each feature, in standard deviations within a rung."""

    weights: Mapping[str, float]

    def __call__(self, layout: Layout) -> float:
        """Return the predicted loss of a network except for a constant; lower is better."""
        return sum(self.weights.get(name, 0.0) * value for name, value in _features(layout).items())

    def worth(self, layout: Layout) -> dict[str, dict[str, float]]:
        """Return by convolution how good each kernel is predicted to be; above 1 is better than the mean."""
        kernels = sorted({str(kernel) for counts in layout.convolutions.values() for kernel in counts})
        found = {}
        for name in layout.convolutions:
            added = {kernel: self._added(name, kernel, len(layout.convolutions)) for kernel in kernels}
            mean = fmean(added.values())
            found[name] = {kernel: math.exp(mean - value) for kernel, value in added.items()}
        return found

    def _added(self, name: str, kernel: str, convolutions: int) -> float:
        """Return the predicted change of the loss if all channels of one convolution have the kernel."""
        own, all_over = self.weights.get(f"{name} {kernel}", 0.0), self.weights.get(kernel, 0.0)
        return own + all_over / convolutions


def learn_guess(rungs: Sequence[Sequence[RaceEntry]]) -> Guess:
    """Fit the model to all networks that were judged; with too few of them all predictions are 0.

    Losses are relative to the mean of their rung, because rungs have different lengths. Features are the
    shares of kernels (of each convolution and on average), the widths, the decoder and the levels.
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

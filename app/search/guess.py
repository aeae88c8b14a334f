"""Estimates of the loss of networks in a race from all losses so far: a linear mixed model.

The loss of a network is modelled as the sum of the effects of its features (shares of kernels, widths,
decoder, levels), an effect of the network itself, an effect of its initial weights, which children inherit,
and the noise of each training. All effects are normally distributed. So the noisier the losses, the more the
estimates are shrunk, and every training of the race contributes to the estimates of all networks with the
same features. The variances of the effects are integrated out over a grid, weighted by the restricted
likelihood.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, helmert

from app.core.layout import Layout
from app.search.race_record import RaceEntry

_EFFECTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # variances of the effect of a feature, for noise of variance 1
_OWN = (0.03, 0.1, 0.3, 1.0)  # variances of the effect of a network
_ALIKE = 6.0  # weight of the variance of all rungs in that of each rung, as a number of contrasts
_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Guess:
    """The effects of features and networks on the loss, in standard deviations of the first losses."""

    weights: Mapping[str, float]
    own: Mapping[int, float]
    """The effect of each network that has raced, beyond that of its features, by its number."""
    covariance: _Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Posterior covariance of `weights` and `own`, in this order."""

    def __call__(self, layout: Layout) -> float:
        """Return the predicted loss of a network except for a constant; lower is better."""
        return sum(self.weights.get(name, 0.0) * value for name, value in _features(layout).items())

    def of(self, entry: RaceEntry) -> float:
        """Estimate the loss of a network that has raced; infinite for one whose loss was not finite."""
        return math.inf if entry.loss is None else self(entry.layout) + self.own.get(entry.number, 0.0)

    def error(self, first: RaceEntry, second: RaceEntry) -> float:
        """Return the standard deviation of the difference between the estimates of two raced networks."""
        change = self._row(first) - self._row(second)
        return math.sqrt(max(0.0, float(change @ self.covariance @ change)))

    def _row(self, entry: RaceEntry) -> _Array:
        features = _features(entry.layout)
        own = [float(entry.number == number) for number in self.own]
        return np.array([*(features.get(name, 0.0) for name in self.weights), *own])

    def worth(self, layout: Layout) -> dict[str, dict[str, float]]:
        """Return how good each kernel is predicted to be, by convolution; above 1 is better than the mean."""
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
        return own + all_over / math.sqrt(convolutions)


def learn_guess(rungs: Sequence[Sequence[RaceEntry]]) -> Guess:
    """Fit the model to the losses of all judged networks; if losses do not differ, all estimates are 0.

    Losses are compared within their rung. Each rung is scaled so that its losses vary about as much as is
    expected from the features of its networks.
    """
    known = [[entry for entry in rung if entry.loss is not None] for rung in rungs]
    known = [rung for rung in known if len({entry.loss for entry in rung}) > 1]
    if not known:
        return Guess({}, {})
    entries = [entry for rung in known for entry in rung]
    seen = [_features(entry.layout) for entry in entries]
    names = sorted({name for features in seen for name in features})
    numbers = sorted({entry.number for entry in entries})
    sizes = [len(rung) - 1 for rung in known]
    within: _Array = block_diag(*(helmert(len(rung)) for rung in known))  # differences within each rung
    rows = within @ np.array([[features.get(name, 0.0) for name in names] for features in seen])
    own = within @ np.array([[float(entry.number == number) for number in numbers] for entry in entries])
    losses = within @ np.array([entry.rank for entry in entries])
    luck = within @ _same_weights(rungs, entries)
    design = np.hstack([rows, own])
    is_own = np.repeat([False, True], [rows.shape[1], own.shape[1]])
    mean, covariance = _effects(design, is_own, luck, losses, np.repeat(np.arange(len(sizes)), sizes))
    found = mean.tolist()
    return Guess(
        dict(zip(names, found[: len(names)], strict=True)),
        dict(zip(numbers, found[len(names) :], strict=True)),
        covariance,
    )


def _effects(
    design: _Array, is_own: NDArray[np.bool_], luck: _Array, losses: _Array, rung: NDArray[np.int64]
) -> tuple[_Array, _Array]:
    """Return mean and covariance of the effects of features and networks, averaged over the variances."""
    found = list(_solved(design, is_own, luck, losses, rung))
    likely = np.exp(np.array([one[0] for one in found]) - max(one[0] for one in found))
    likely /= likely.sum()
    means = np.array([one[1] for one in found])
    mean = likely @ means
    within = sum(p * one[2] for p, one in zip(likely, found, strict=True))
    return mean, within + (likely[:, None] * (means - mean)).T @ (means - mean)


def _solved(
    design: _Array, is_own: NDArray[np.bool_], luck: _Array, losses: _Array, rung: NDArray[np.int64]
) -> Iterator[tuple[float, _Array, _Array]]:
    """Yield the log restricted likelihood, and mean and covariance of the effects, by pair of variances.

    The columns of `design` are networks if `is_own` is true for them, else features.
    """
    members = np.equal.outer(np.arange(rung.max() + 1), rung).astype(float)  # (rungs, contrasts)
    count = members.sum(axis=1)
    for effect in _EFFECTS:
        for network in _OWN:
            prior = np.where(is_own, network, effect)
            shared = prior[:, None] * design.T  # covariance of effects and losses
            spread = design @ shared + luck @ luck.T + np.eye(len(losses))
            expected = members @ spread.diagonal() / count
            seen = members @ np.square(losses) / expected
            variance = (seen + _ALIKE * seen.sum() / count.sum()) / (count + _ALIKE)
            scaled = losses / np.sqrt(variance)[rung]
            solved = np.linalg.solve(spread, np.column_stack([scaled, shared.T]))
            likelihood = (
                -(np.linalg.slogdet(spread)[1] + scaled @ solved[:, 0] + count @ np.log(variance)) / 2
            )
            covariance = np.diag(prior) - shared @ solved[:, 1:]
            yield float(likelihood), shared @ solved[:, 0] / math.sqrt(expected[0]), covariance / expected[0]


def _same_weights(rungs: Sequence[Sequence[RaceEntry]], entries: Sequence[RaceEntry]) -> _Array:
    """Return one column per set of initial weights: 1 for the entries that continue from these weights.

    Entries of the final, which begin with new weights, are 0 in all columns.
    """
    roots, found = dict[int, int](), dict[int, int]()
    for rung in rungs:
        before = roots
        roots = {one.number: before.get(-1 if one.parent is None else one.parent, one.number) for one in rung}
        found |= {id(one): roots[one.number] if one.parent is not None or not before else -1 for one in rung}
    names = sorted(set(found.values()) - {-1})
    return np.array([[float(found[id(one)] == name) for name in names] for one in entries])


def _features(layout: Layout) -> dict[str, float]:
    network = layout.network
    assert network is not None
    found = {f"levels {network.strides}": 1.0, "decoder": math.log2(network.decoder_width)}
    deepest = len(network.widths) - 1
    for level, width in enumerate(network.widths):
        found[f"width {deepest - level} from below"] = math.log2(width)
    common = math.sqrt(len(layout.convolutions))  # so that both kinds of kernel features have equal weight
    for name, counts in layout.convolutions.items():
        channels = sum(counts.values())
        for kernel, count in counts.items():
            share = count / channels
            found[f"{name} {kernel}"] = share
            found[str(kernel)] = found.get(str(kernel), 0.0) + share / common
    return found

"""The method dwd of compress.method: depthwise filters and a mix of their outputs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.compress.fits.activation import through_activation
from app.compress.fits.conv_fit import ConvTask
from app.compress.fits.depthwise import (
    DepthwiseFactors,
    compensated,
    from_responses,
    from_weights,
    refitted_mix,
)
from app.compress.fits.method import DecompositionMethod, chain_kernels
from app.compress.fits.replace import chained
from app.compress.fits.samples import ROWS_PER_FEATURE
from app.compress.fits.separable import split_filters
from app.operators import ConvSpec
from app.operators.decomposed import Factors


class DepthwiseMethod(DecompositionMethod):
    """A few filters per input channel, followed by a mix of their outputs."""

    def factors(self, conv: ConvSpec, rank: int) -> Factors:
        """Return whole filters, or filters split according to `settings.chain`."""
        return Factors("depthwise", rank, chain_kernels(conv.kernel, self.settings.chain))

    def energies(self, task: ConvTask) -> Tensor:
        """Return the energies of the channels' responses (without data: of weights), summed over channels."""
        matrices = task.weights
        if self.settings.fits("data"):
            matrices = task.root @ task.weights.transpose(1, 2)
        energies: Tensor = torch.linalg.svdvals(matrices).square().sum(dim=0)
        return energies

    def fit(self, task: ConvTask, factors: Factors) -> nn.Sequential:
        """Return the fitted convolutions; `settings.fit` is the depth of the fit."""
        found = self._fitted(task, factors.rank)
        filters = found.filters.flatten(0, 1).reshape(-1, *task.conv.kernel_size)
        parts = split_filters(filters, factors.kernels) if len(factors.kernels) > 1 else [filters]
        if len(parts) > 1:
            product = math.prod(parts[1:], start=parts[0]).flatten(1)
            found = DepthwiseFactors(product.reshape(found.filters.shape), found.mix)
            if self.settings.fits("data") and len(product) * ROWS_PER_FEATURE <= len(task.target):
                found = refitted_mix(found, task.inputs, task.target)
        mix = found.mix / task.scale
        bias = task.bias(DepthwiseFactors(found.filters, mix).weights())
        return chained(task.conv, factors, [*parts, mix.flatten(0, 1).T], bias)

    def _fitted(self, task: ConvTask, rank: int) -> DepthwiseFactors:
        if not self.settings.fits("data"):
            return from_weights(task.weights, rank)
        found = from_responses(task.weights, task.root, rank)
        if self.settings.fits("sweeps"):
            found = compensated(found, task.inputs, task.target, sweeps=self.settings.sweeps)
        if self.settings.fits("activation") and task.following.slope is not None:
            found = self._through(task, found)
        return found

    def _through(self, task: ConvTask, start: DepthwiseFactors) -> DepthwiseFactors:
        slope, shift = task.following.slope, task.following.shift
        assert slope is not None and shift is not None
        current = start

        def fit(target: Tensor) -> tuple[DepthwiseFactors, Tensor]:
            nonlocal current
            current = compensated(current, task.inputs, target - shift, sweeps=1)
            return current, current.responses(task.inputs).sum(dim=0) + shift

        begun = start, start.responses(task.inputs).sum(dim=0) + shift
        wanted = F.leaky_relu(task.target + shift, slope)
        return through_activation(wanted, begun, fit, slope=slope, rounds=self.settings.rounds)[0]

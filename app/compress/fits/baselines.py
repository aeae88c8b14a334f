"""The methods channel and spatial of compress.method: dense convolutions of lower rank, as baselines."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.compress.fits.activation import through_activation
from app.compress.fits.conv_fit import ConvTask
from app.compress.fits.low_rank import principal_mix, regressed_mix, spatial_pair
from app.compress.fits.method import DecompositionMethod
from app.compress.fits.replace import chained
from app.operators import ConvSpec
from app.operators.decomposed import Factors


class ChannelMethod(DecompositionMethod):
    """A dense convolution to fewer channels, followed by 1x1x1 (Zhang et al., 2016)."""

    def factors(self, conv: ConvSpec, rank: int) -> Factors:
        """Return factors with `rank` channels between the two convolutions."""
        return Factors("channel", rank, (conv.kernel,))

    def energies(self, task: ConvTask) -> Tensor:
        """Return the energies of the principal components of the responses (without data: of the weights)."""
        energies: Tensor = torch.linalg.svdvals(self._matrix(task)).square()
        return energies

    def fit(self, task: ConvTask, factors: Factors) -> nn.Sequential:
        """Return the fitted convolutions; `settings.fit` is the depth of the fit, and there are no sweeps."""
        encode, decode = self._mix(task, factors.rank)
        flat = task.weights.transpose(0, 1).flatten(1)  # (out, channel * tap)
        mix = decode / task.scale
        weights = (mix.T @ (encode.T @ flat)).reshape(len(flat), task.conv.in_channels, -1).transpose(0, 1)
        return chained(task.conv, factors, [encode.T @ flat, mix.T], task.bias(weights))

    def _mix(self, task: ConvTask, rank: int) -> tuple[Tensor, Tensor]:
        if not self.settings.fits("asymmetric"):
            return principal_mix(self._matrix(task), rank)
        responses = self._responses(task)
        found = regressed_mix(responses, task.target, rank)
        if not self.settings.fits("activation") or task.following.slope is None:
            return found
        slope, shift = task.following.slope, task.following.shift
        assert shift is not None

        def answer(mix: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
            return mix, responses @ mix[0] @ mix[1] + shift

        return through_activation(
            F.leaky_relu(task.target + shift, slope),
            answer(found),
            lambda target: answer(regressed_mix(responses, target - shift, rank)),
            slope=slope,
            rounds=self.settings.rounds,
        )[0]

    def _matrix(self, task: ConvTask) -> Tensor:
        """Return responses (row, out), or without data weights (channel * tap, out)."""
        if self.settings.fits("data"):
            return self._responses(task)
        return task.weights.transpose(1, 2).flatten(0, 1)

    def _responses(self, task: ConvTask) -> Tensor:
        """Return the dense convolution's responses (row, out) to these inputs."""
        return torch.einsum("crk,cok->ro", task.inputs, task.weights)


class SpatialMethod(DecompositionMethod):
    """A pair of dense convolutions, along depth and in the plane, fitted to weights only.

    Jaderberg et al., 2014.
    """

    def factors(self, conv: ConvSpec, rank: int) -> Factors:
        """Return depth first, then the plane, even if one of them has a single tap."""
        depth, height, width = conv.kernel
        return Factors("spatial", rank, ((depth, 1, 1), (1, height, width)))

    def energies(self, task: ConvTask) -> Tensor:
        """Return the energies of the unfolded weights."""
        weight = task.conv.weight.detach().double()
        rows = weight.permute(1, 2, 0, 3, 4).reshape(weight.shape[1] * weight.shape[2], -1)
        energies: Tensor = torch.linalg.svdvals(rows).square()
        return energies

    def fit(self, task: ConvTask, factors: Factors) -> nn.Sequential:
        """Return the pair of convolutions, with a bias that keeps the mean response."""
        first, second = spatial_pair(task.conv.weight, factors.rank)
        whole = torch.einsum("rcdxy,orzhw->codhw", first, second).flatten(2)
        return chained(task.conv, factors, [first, second], task.bias(whole))

"""The super-networks of the CAKES paper: the channels of all kernels are concatenated.

Yu et al., "CAKES: Channel-wise Automatic KErnel Shrinking for Efficient 3D Networks", AAAI 2021; details from
the authors' code (github.com/yucornetto/CAKES). A path is one channel of one kernel. Each path has its own
batch norm and ReLU, the next convolution reads all paths, and the scale of a path's norm is its importance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.core.kernel import Kernel
from app.core.types import Size, as_size
from app.layers.convolution import conv3d
from app.operators.mixed import MixedConv3d
from app.operators.searched import SearchedConv3d


class PathsConv3d(SearchedConv3d):
    """A searched convolution that computes all paths, as in the cost-priority search.

    It maps (B, in, D, H, W) to (B, kernels * slots, D/s, H/s, W/s), sizes rounded up. Channel k * slots + c
    is the path of kernel k and slot c.
    """

    def __init__(self, in_channels: int, slots: int, kernels: tuple[Kernel, ...], stride: Size) -> None:
        super().__init__(kernels, slots)
        self.paths = MixedConv3d(in_channels, dict.fromkeys(kernels, slots), stride)
        self.norm = nn.BatchNorm3d(len(kernels) * slots)
        for group in self.paths.groups:
            assert isinstance(group, nn.Conv3d)
            nn.init.kaiming_normal_(group.weight, mode="fan_out", nonlinearity="relu")

    @property
    def gates(self) -> Tensor:  # type: ignore[override]
        """Scales of the norm, (kernels, slots)."""
        return self.norm.weight.view(len(self.kernels), self.slots)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to all paths; see the class."""
        return F.relu(self.norm(self.paths(x)), inplace=True)

    def scores(self) -> Tensor:
        """Return the absolute scales of the norm, (kernels, slots)."""
        return self.gates.detach().abs()


class RandomPathsConv3d(PathsConv3d):
    """A searched convolution that computes a random choice of paths, as in the performance-priority search.

    At each step as many paths as slots are chosen. The others are zero and keep their norm statistics. In
    eval mode the paths with the largest scales are chosen, which are those that decoding keeps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to all paths, of which the unchosen are zero; see the class."""
        active = self._active()
        parts = [self._convolved(x, *of) for of in enumerate(self._by_kernel(active)) if of[1]]
        places = torch.tensor(active, device=x.device)
        y = F.relu(self._normalised(torch.cat(parts, dim=1), places), inplace=True)
        last = y.movedim(1, -1)  # contiguous if volumes are channels-last
        paths = last.new_zeros((*last.shape[:-1], len(self.norm.weight)))
        return paths.index_copy(-1, places, last).movedim(-1, 1)

    def _active(self) -> list[int]:
        """Return the channels of the chosen paths, as many as slots, ascending."""
        scales, count = self.scores().flatten(), len(self.norm.weight)
        if self.training:
            chosen = torch.randperm(count, device="cpu")[: self.slots]
        elif scales.is_meta:  # when counting costs: equally many of each kernel
            chosen = torch.arange(0, count, len(self.kernels), device="cpu")
        else:  # stable sort: among equal scales the first ones are chosen
            chosen = torch.argsort(scales, descending=True, stable=True)[: self.slots]
        return sorted(chosen.tolist())

    def _by_kernel(self, active: list[int]) -> list[list[int]]:
        """Return the slots of the active paths for each kernel."""
        return [
            [path - first for path in active if 0 <= path - first < self.slots]
            for first in range(0, len(self.norm.weight), self.slots)
        ]

    def _convolved(self, x: Tensor, index: int, slots: list[int]) -> Tensor:
        """Return the paths of some slots and one kernel, (B, slots, D/s, H/s, W/s)."""
        conv = self.paths.groups[index]
        assert isinstance(conv, nn.Conv3d) and not isinstance(conv.padding, str)
        return conv3d(
            *(x, conv.weight[slots]),
            stride=as_size(conv.stride),
            padding=as_size(conv.padding),
            dilation=as_size(conv.dilation),
        )

    def _normalised(self, y: Tensor, active: Tensor) -> Tensor:
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
        mean, var = norm.running_mean[active], norm.running_var[active]
        y = F.batch_norm(
            *(y, mean, var, norm.weight[active], norm.bias[active]),
            training=self.training,
            momentum=norm.momentum,
            eps=norm.eps,
        )
        if self.training:
            norm.running_mean.index_copy_(0, active, mean)
            norm.running_var.index_copy_(0, active, var)
        return y

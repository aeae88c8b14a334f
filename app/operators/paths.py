"""The super-network of the CAKES paper: all channels of every kernel side by side.

Yu et al., "CAKES: Channel-wise Automatic KErnel Shrinking for Efficient 3D Networks", AAAI 2021; rules of the
authors' code (github.com/yucornetto/CAKES). A path is one channel of one kernel. Each path has batch norm
and ReLU of its own, the next convolution reads all paths, and the scale of a path's norm is its importance.
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
    """All paths, as in the cost-priority search.

    Maps (B, in, D, H, W) to (B, kernels * slots, D/s, H/s, W/s), rounded up. Channel k * slots + c is the
    path of kernel k and slot c.
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
        """The scales of the norm, (kernels, slots)."""
        return self.norm.weight.view(len(self.kernels), self.slots)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.norm(self.paths(x)), inplace=True)

    def scores(self) -> Tensor:
        """Absolute scales."""
        return self.gates.detach().abs()


class RandomPathsConv3d(PathsConv3d):
    """At each step a random choice of as many paths as slots, as in the performance-priority search.

    The others are zero and keep their statistics. In eval mode the paths with the largest scales take part,
    which are those that decoding keeps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        active = self._active()
        parts = [self._convolved(x, *of) for of in enumerate(self._by_kernel(active)) if of[1]]
        places = torch.tensor(active, device=x.device)
        y = F.relu(self._normalised(torch.cat(parts, dim=1), places), inplace=True)
        last = y.movedim(1, -1)  # contiguous where volumes are channels-last
        paths = last.new_zeros((*last.shape[:-1], len(self.norm.weight)))
        return paths.index_copy(-1, places, last).movedim(-1, 1)

    def _active(self) -> list[int]:
        """Channels of the paths that take part, as many as slots, ascending."""
        scales, count = self.scores().flatten(), len(self.norm.weight)
        if self.training:
            chosen = torch.randperm(count, device="cpu")[: self.slots]
        elif scales.is_meta:  # its cost is counted: as many of each kernel
            chosen = torch.arange(0, count, len(self.kernels), device="cpu")
        else:  # stable: of equal scales the first, never more than `slots`
            chosen = torch.argsort(scales, descending=True, stable=True)[: self.slots]
        return sorted(chosen.tolist())

    def _by_kernel(self, active: list[int]) -> list[list[int]]:
        """The slots of active paths, for each kernel."""
        return [
            [path - first for path in active if 0 <= path - first < self.slots]
            for first in range(0, len(self.norm.weight), self.slots)
        ]

    def _convolved(self, x: Tensor, index: int, slots: list[int]) -> Tensor:
        """The paths of some slots and one kernel, (B, slots, D/s, H/s, W/s)."""
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

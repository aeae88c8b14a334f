"""MONAI's SegResNet, for comparisons with the same training recipe.

Myronenko, BrainLes 2018, without the autoencoder branch.
"""

from dataclasses import dataclass

from torch import nn

from app.models.model import Model, Shape
from app.models.padded import Padded
from app.operators import Operator


@dataclass(frozen=True)
class SegResNetModel(Model):
    """The settings of `model=segresnet`; it has its own convolutions, so operators do not apply.

    It uses only channels and classes of the plan: every level halves each axis and has kernels of size 3.
    """

    init_filters: int
    """Channels at full resolution; each level has twice as many as the one before."""
    blocks_down: tuple[int, ...]
    """Residual blocks of each encoder level, finest first."""
    blocks_up: tuple[int, ...]
    """Residual blocks of each decoder level, deepest first; one entry fewer than `blocks_down`."""

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a SegResNet with newly initialised weights."""
        from monai.networks.nets.segresnet import SegResNet  # imported here: it takes seconds

        net = SegResNet(
            spatial_dims=3,
            init_filters=self.init_filters,
            in_channels=shape.in_channels,
            out_channels=shape.classes,
            blocks_down=tuple(self.blocks_down),
            blocks_up=tuple(self.blocks_up),
        )
        return Padded(net, 2 ** (len(self.blocks_down) - 1))

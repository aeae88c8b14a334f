"""MONAI's SegResNet, to compare with by the same recipe.

Myronenko, BrainLes 2018 (without its autoencoder branch).
"""

from dataclasses import dataclass

from torch import nn

from app.models.model import Model, Shape
from app.models.padded import Padded
from app.operators import Operator


@dataclass(frozen=True)
class SegResNetModel(Model):
    """The settings of `model=segresnet`; it has its own convolutions, so no operator applies.

    Of the plan it takes channels, classes and nothing else: every level halves each axis, with kernels of 3.
    """

    init_filters: int
    """Channels at full resolution, doubled from level to level."""
    blocks_down: tuple[int, ...]
    """Residual blocks of each level of the encoder, finest first."""
    blocks_up: tuple[int, ...]
    """Likewise of the decoder, deepest first; one entry fewer."""

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a SegResNet with fresh weights."""
        from monai.networks.nets.segresnet import SegResNet  # seconds to import, for this model alone

        net = SegResNet(
            spatial_dims=3,
            init_filters=self.init_filters,
            in_channels=shape.in_channels,
            out_channels=shape.classes,
            blocks_down=tuple(self.blocks_down),
            blocks_up=tuple(self.blocks_up),
        )
        return Padded(net, 2 ** (len(self.blocks_down) - 1))

"""MONAI's MedNeXt, to compare with by the same recipe.

Roy et al., MICCAI 2023.
"""

from dataclasses import dataclass

from torch import nn

from app.models.model import Model, Shape
from app.models.padded import Padded
from app.operators import Operator


@dataclass(frozen=True)
class MedNeXtModel(Model):
    """The settings of `model=mednext`; it has its own convolutions, so no operator applies.

    Of the plan it takes channels, classes and nothing else: every level halves each axis.
    """

    init_filters: int
    """Channels at full resolution, doubled from level to level."""
    blocks: tuple[int, ...]
    """Blocks of each level, finest first; the decoder has as many. The bottleneck has as many as the last."""
    expansion: int
    """Channels inside a block for one outside."""
    kernel_size: int
    deep_supervision: bool

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a MedNeXt with fresh weights."""
        from monai.networks.nets.mednext import MedNeXt  # seconds to import, for this model alone

        blocks = tuple(self.blocks)
        net = MedNeXt(
            spatial_dims=3,
            init_filters=self.init_filters,
            in_channels=shape.in_channels,
            out_channels=shape.classes,
            encoder_expansion_ratio=self.expansion,
            decoder_expansion_ratio=self.expansion,
            bottleneck_expansion_ratio=self.expansion,
            kernel_size=self.kernel_size,
            deep_supervision=self.deep_supervision,
            use_residual_connection=True,
            blocks_down=blocks,
            blocks_bottleneck=blocks[-1],
            blocks_up=tuple(reversed(blocks)),
        )
        return Padded(net, 2 ** len(blocks))

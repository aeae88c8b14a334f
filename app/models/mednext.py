"""MONAI's MedNeXt, for comparisons with the same training recipe.

Roy et al., MICCAI 2023.
"""

from dataclasses import dataclass

from torch import nn

from app.models.model import Model, Shape
from app.models.padded import Padded
from app.operators import Operator


@dataclass(frozen=True)
class MedNeXtModel(Model):
    """The settings of `model=mednext`; it has its own convolutions, so operators do not apply.

    It uses only channels and classes of the plan: every level halves each axis.
    """

    init_filters: int
    """Channels at full resolution; each level has twice as many as the one before."""
    blocks: tuple[int, ...]
    """Blocks of each level, finest first, in encoder and decoder; the bottleneck uses the last number."""
    expansion: int
    """Channels inside a block per channel at its input."""
    kernel_size: int
    deep_supervision: bool

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a MedNeXt with newly initialised weights."""
        from monai.networks.nets.mednext import MedNeXt  # imported here: it takes seconds

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

"""MONAI's DynUNet, nnU-Net's U-Net, for comparisons with the same training recipe."""

from dataclasses import dataclass

from torch import Tensor, nn

from app.core.errors import InputError
from app.models.model import Model, Shape
from app.operators import Operator


@dataclass(frozen=True)
class DynUNetModel(Model):
    """The settings of `model=dynunet`; it has its own convolutions, so operators do not apply."""

    deep_supervision: bool

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a DynUNet with the shape's widths, kernels and strides, and newly initialised weights.

        Raises:
            InputError: the shape has fewer levels than DynUNet needs.
        """
        levels, least = len(shape.widths), 4 if self.deep_supervision else 3
        if levels < least:
            raise InputError(f"model=dynunet: got {levels} levels, wanted at least {least}; see plan.strides")
        return _Net(self, shape)


class _Net(nn.Module):
    """A DynUNet that maps (B, in_channels, D, H, W) to logits (B, classes, D, H, W).

    In training mode with deep supervision it returns a list of logits, all resized to the finest size.
    """

    def __init__(self, model: DynUNetModel, shape: Shape) -> None:
        super().__init__()
        from monai.networks.nets.dynunet import DynUNet  # imported here: it takes seconds

        levels = len(shape.widths)
        self.net = DynUNet(
            spatial_dims=3,
            in_channels=shape.in_channels,
            out_channels=shape.classes,
            kernel_size=shape.kernels,
            strides=shape.strides,
            upsample_kernel_size=shape.strides[1:],
            filters=shape.widths,
            norm_name=("INSTANCE", {"affine": True}),
            deep_supervision=model.deep_supervision,
            deep_supr_num=max(1, levels - 2),
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map (B, in_channels, D, H, W) to logits, or to a list of them; see the class."""
        logits: Tensor = self.net(x)
        return list(logits.unbind(1)) if self.training and self.net.deep_supervision else logits

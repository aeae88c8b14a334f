"""MONAI's DynUNet, which is nnU-Net's U-Net, to compare with by the same recipe."""

from dataclasses import dataclass

from torch import Tensor, nn

from app.core.errors import InputError
from app.models.model import Model, Shape
from app.operators import Operator


@dataclass(frozen=True)
class DynUNetModel(Model):
    """What `model=dynunet` says; its convolutions are its own, so that no operator applies."""

    deep_supervision: bool

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """A DynUNet of the shape's widths, kernels and strides.

        Raises:
            InputError: fewer levels than it can be built with.
        """
        levels, least = len(shape.widths), 4 if self.deep_supervision else 3
        if levels < least:
            raise InputError(f"model=dynunet: got {levels} levels, wanted at least {least}; see plan.strides")
        return _Net(self, shape)


class _Net(nn.Module):
    """(B, in_channels, D, H, W) -> logits (B, classes, D, H, W); while training with deep supervision a list
    of them, each brought to the finest size."""

    def __init__(self, model: DynUNetModel, shape: Shape) -> None:
        super().__init__()
        from monai.networks.nets.dynunet import DynUNet  # seconds to import, for this model alone

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
        """See the class."""
        logits: Tensor = self.net(x)
        return list(logits.unbind(1)) if self.training and self.net.deep_supervision else logits

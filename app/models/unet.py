"""A 3D U-Net: encoder, decoder and skip connections; operators supply the convolutions.

Ronneberger et al., MICCAI 2015; levels, norm and deep supervision follow nnU-Net.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from app.core.errors import InputError
from app.core.types import Size
from app.layers.convolution import FastConv3d, Upsample3d
from app.layers.cost import strided
from app.layers.norm import ACTIVATIONS, NORMS, Style
from app.models.blocks import BLOCKS, Block
from app.models.model import Model, Shape
from app.operators import ConvSpec, Operator

_CHANNELS = 8  # a decoder of another width than the encoder has multiples of this


@dataclass(frozen=True)
class UNetModel(Model):
    """The settings of `model=unet`."""

    block: str
    """Kind of block: plain or residual."""
    encoder_blocks: int | Sequence[int]
    """Blocks per encoder level: one number for all levels, or one per level, finest first."""
    decoder_blocks: int | Sequence[int]
    """Blocks per decoder level, given like `encoder_blocks`; the deepest level has no decoder."""
    deep_supervision: bool
    decoder_width: float = 1.0
    """Ratio of decoder to encoder channels at each level; the result is rounded to a multiple of 8.

    Below 1, a level has at least as many channels as the network has classes (and at least 8), or those of
    the encoder if these are fewer."""
    norm: str = "instance"
    """Kind of norm: instance, batch or group (groups of 8 channels, or of 4, 2 or 1 if 8 does not divide)."""
    activation: str = "leaky_relu"
    """Kind of activation: leaky_relu (slope 0.01), relu, relu6, prelu (a learnt slope per channel), silu or
    gelu."""

    def __post_init__(self) -> None:
        """Validate values."""
        if self.block not in BLOCKS:
            raise InputError(f"model.block: got {self.block!r}, wanted one of {', '.join(BLOCKS)}")
        for name, known in (("norm", NORMS), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"model.{name}: got {getattr(self, name)!r}, wanted one of {', '.join(known)}"
                )
        for name in ("encoder_blocks", "decoder_blocks"):
            count = getattr(self, name)
            if not isinstance(count, int):
                object.__setattr__(self, name, tuple(count))  # YAML gives lists; compare as tuples
            if min([count] if isinstance(count, int) else count) < 1:
                raise InputError(f"model.{name}: got {count}, wanted at least 1")
        if self.decoder_width <= 0:
            raise InputError(f"model.decoder_width: got {self.decoder_width}, wanted more than 0")

    def decoder_widths(self, shape: Shape) -> tuple[int, ...]:
        """Return the channels of each decoder level, finest first; the deepest level has no decoder."""
        widths = shape.widths[:-1]
        if self.decoder_width == 1:
            return widths
        least = _CHANNELS
        if self.decoder_width < 1 and shape.version > 2:
            least = _CHANNELS * math.ceil(shape.classes / _CHANNELS)
        rounded = [max(least, _CHANNELS * round(width * self.decoder_width / _CHANNELS)) for width in widths]
        if self.decoder_width > 1:
            return tuple(rounded)
        return tuple(min(pair) for pair in zip(rounded, widths, strict=True))

    def blocks(self, part: str, levels: int) -> tuple[int, ...]:
        """Return the blocks of each level of `part`, encoder or decoder.

        Raises:
            InputError: the setting lists them for another number of levels.
        """
        count: int | Sequence[int] = getattr(self, f"{part}_blocks")
        counts = (count,) * levels if isinstance(count, int) else tuple(count)
        if len(counts) != levels:
            raise InputError(
                f"model.{part}_blocks: got {len(counts)} numbers, wanted one for each of {levels} levels"
            )
        return counts

    def build(self, shape: Shape, encoder: Operator, decoder: Operator) -> nn.Module:
        """Build a U-Net with one level per entry of the shape and newly initialised weights.

        Raises:
            InputError: the shape has only one level, so there would be no decoder.
        """
        if len(shape.widths) < 2:
            raise InputError(
                "model: got 1 level, wanted at least 2; see plan.max_levels, plan.strides, plan.patch"
            )
        return UNet(self, shape, encoder, decoder)


def with_decoder(model: Model, width: float) -> UNetModel:
    """Return the model with a decoder of this width.

    Raises:
        InputError: the model's decoder has no width of its own.
    """
    if not isinstance(model, UNetModel):
        raise InputError(
            f"model: got {type(model).__name__}, wanted model=unet or model=resunet to search widths"
        )
    return replace(model, decoder_width=width)


class UNet(nn.Module):
    """A U-Net that maps (B, in_channels, D, H, W) to logits (B, classes, D, H, W).

    D, H and W must be multiples of the product of strides. If the finest level has strides (a stem on a
    coarser grid), its logits are upsampled to the input's size. In training mode with deep supervision it
    returns a list of logits, one per level from the finest, without the deepest.
    """

    def __init__(self, model: UNetModel, shape: Shape, encoder: Operator, decoder: Operator) -> None:
        super().__init__()
        self.deep_supervision = model.deep_supervision
        block, style = BLOCKS[model.block], Style(model.norm, model.activation)
        own_style = style if shape.version > 1 else None
        self.encoder = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.heads = nn.ModuleList()
        sizes: list[Size | None] = [shape.patch]
        levels = len(shape.widths)
        encoder_blocks, decoder_blocks = model.blocks("encoder", levels), model.blocks("decoder", levels - 1)
        reached = [shape.in_channels]  # output channels of each encoder level, after those of the input
        for level, width in enumerate(shape.widths):
            kernel, stride = shape.kernels[level], shape.strides[level]
            first = ConvSpec(f"encoder.{level}", reached[-1], width, kernel, stride, sizes[-1], own_style)
            convs = _level(first, block, encoder_blocks[level], encoder)
            self.encoder.append(_stage(convs, block, encoder, style))
            reached.append(encoder.width(convs[-1]))
            sizes.append(_after(first))
        skipped = reached[1:]
        decoded: list[list[ConvSpec]] = []
        for level, width in enumerate(model.decoder_widths(shape)):
            kernel, size = shape.kernels[level], sizes[level + 1]
            joined = width + skipped[level]
            first = ConvSpec(f"decoder.{level}", joined, width, kernel, (1, 1, 1), size, own_style)
            decoded.append(_level(first, block, decoder_blocks[level], decoder))
        given = [decoder.width(convs[-1]) for convs in decoded]
        below = (*given[1:], skipped[-1])  # channels that each level receives from the next deeper one
        for level, convs in enumerate(decoded):
            self.up.append(Upsample3d(below[level], convs[0].out_channels, shape.strides[level + 1]))
            self.decoder.append(_stage(convs, block, decoder, style))
            if level == 0 and shape.strides[0] != (1, 1, 1):
                self.heads.append(Upsample3d(given[level], shape.classes, shape.strides[0]))
            elif level == 0 or model.deep_supervision:
                self.heads.append(FastConv3d(given[level], shape.classes, 1))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map (B, in_channels, D, H, W) to logits, or to a list of them; see the class."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            if level == 0 or (self.training and self.deep_supervision):
                logits.insert(0, self.heads[level](x))
        return logits if self.training and self.deep_supervision else logits[0]


def _level(first: ConvSpec, block: Block, blocks: int, operator: Operator) -> list[ConvSpec]:
    """Return the convolutions of one level; the first changes width and size, the others keep them."""
    convs: list[ConvSpec] = []
    for index in range(blocks * block.convolutions):
        conv = replace(first, name=f"{first.name}.{index}")
        if convs:
            channels = operator.width(convs[-1])
            conv = replace(conv, in_channels=channels, stride=(1, 1, 1), size=_after(first))
        convs.append(conv)
    return convs


def _stage(convs: Sequence[ConvSpec], block: Block, operator: Operator, style: Style) -> nn.Sequential:
    """Build the blocks of one level from its convolutions."""
    taken = range(0, len(convs), block.convolutions)
    return nn.Sequential(*(block(convs[i : i + block.convolutions], operator, style) for i in taken))


def _after(conv: ConvSpec) -> Size | None:
    """Return the output size of a convolution for a patch; None if the patch size is unknown."""
    return None if conv.size is None else strided(conv.size, conv.stride)

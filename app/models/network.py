"""Networks from their descriptions, and the descriptions that checkpoints keep."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import app.models as package
from app.core.errors import InputError
from app.core.layout import Layout
from app.core.registry import rebuild
from app.core.types import Size, as_size
from app.layers.cost import Cost
from app.layers.device_policy import policy_of
from app.models.model import VERSION, Model, Shape
from app.models.regions import RegionNetwork
from app.operators import ConvSpec, Operator, operator_from
from app.operators.operator import Wrapper


@dataclass(frozen=True)
class NetworkSpec:
    """A complete description of a network: model, shape, and operators bound to its convolutions."""

    model: Model
    shape: Shape
    encoder: Operator
    decoder: Operator

    def build(self) -> nn.Module:
        """Build the network with new weights, drawn from torch's global generator."""
        network = self.model.build(self.shape, self.encoder, self.decoder)
        return RegionNetwork(network, self.shape.regions) if self.shape.regions else network

    def redesigned(self, operator: Operator) -> "NetworkSpec":
        """Return the network with another operator; a decoder with an operator of its own keeps it."""
        decoder = None if self.decoder == self.encoder else self.decoder
        return design(self.model, self.shape, operator, decoder)

    def describe(self) -> dict[str, Any]:
        """Return the description as plain values; `network_from` is the inverse."""
        return {
            "model": self.model.describe(),
            "shape": asdict(self.shape),
            "encoder": self.encoder.describe(),
            "decoder": self.decoder.describe(),
        }

    def cost(self, patch: Size) -> Cost:
        """Return parameters, and multiply-adds of a forward pass over a patch, counted on a built network."""
        with torch.device("meta"):
            network = self.build().eval()
            sample = torch.empty(1, self.shape.in_channels, *patch)
            with FlopCounterMode(display=False) as counter:
                network(sample)
        return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)

    def fits_other_sizes(self) -> bool:
        """Return whether windows may be larger than the patch; always true for networks of version 1."""
        known = self.encoder.fits_other_sizes() and self.decoder.fits_other_sizes()
        return known or self.shape.version == 1

    def layout(self) -> Layout | None:
        """Return the layout of the mixed convolutions of encoder and decoder; None if there are none."""
        used = {conv.name for conv in list_convolutions(self.model, self.shape)}
        kernels = [operator.kernel_layout() for operator in (self.encoder, self.decoder)]
        mixed = [layout for layout in kernels if layout is not None]
        named = {
            name: groups for layout in mixed for name, groups in layout.convolutions.items() if name in used
        }
        return Layout(named, mixed[0].provenance) if mixed else None


def design(model: Model, shape: Shape, operator: Operator, decoder_operator: Operator | None) -> NetworkSpec:
    """Bind operators to a model's convolutions; without `decoder_operator`, `operator` is used for all.

    Raises:
        InputError: a layout does not match the network, or an operator is given for a model with its own
            convolutions.
    """
    convolutions = list_convolutions(model, shape)
    chosen = [part.describe()["kind"] for part in (operator, decoder_operator) if part is not None]
    if not convolutions and chosen != ["Conv3d"]:
        raise InputError(
            f"{model.describe()['kind']}: got operators {', '.join(chosen)} for a model with its own "
            "convolutions, wanted op=conv3d"
        )
    if decoder_operator is None:
        bound = operator.bind(convolutions)
        return NetworkSpec(model, shape, bound, bound)
    decoder = [conv for conv in convolutions if conv.name.startswith("decoder")]
    encoder = [conv for conv in convolutions if not conv.name.startswith("decoder")]
    return NetworkSpec(model, shape, operator.bind(encoder), decoder_operator.bind(decoder))


def network_from(description: dict[str, Any]) -> NetworkSpec:
    """Rebuild a spec from the values of `NetworkSpec.describe`.

    Raises:
        InputError: the operator, the model or the version is unknown.
    """
    shape = description["shape"]
    return NetworkSpec(
        model=rebuild(description["model"], Model, package),  # type: ignore[type-abstract]
        shape=Shape(
            in_channels=int(shape["in_channels"]),
            classes=int(shape["classes"]),
            widths=tuple(int(width) for width in shape["widths"]),
            strides=tuple(as_size(stride) for stride in shape["strides"]),
            kernels=tuple(as_size(kernel) for kernel in shape["kernels"]),
            patch=as_size(shape["patch"]) if shape.get("patch") else None,
            regions=tuple(tuple(int(value) for value in region) for region in shape.get("regions", ())),
            version=_known(int(shape.get("version", 1))),
        ),
        encoder=operator_from(description["encoder"]),
        decoder=operator_from(description["decoder"]),
    )


def _known(version: int) -> int:
    if version > VERSION:
        raise InputError(
            f"checkpoint: got a network of version {version}, this program knows up to {VERSION}"
        )
    return version


def list_convolutions(model: Model, shape: Shape) -> tuple[ConvSpec, ...]:
    """Return every spatial convolution that a model requests from operators, in that order."""
    recorder = _Recorder()
    with torch.device("meta"):
        model.build(shape, recorder, recorder)
    return tuple(recorder.seen)


def build_named(spec: NetworkSpec) -> tuple[nn.Module, dict[str, str]]:
    """Return a network with new weights, and the path of each convolution's module by convolution name."""
    made: dict[int, str] = {}
    network = replace(spec, encoder=_Noting(spec.encoder, made), decoder=_Noting(spec.decoder, made)).build()
    return network, {made[id(module)]: path for path, module in network.named_modules() if id(module) in made}


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move the network to a device, with weights in the memory format that is fast there; return it."""
    network.to(device)
    network.to(memory_format=policy_of(device).memory_format)  # type: ignore[call-overload]
    return network


@dataclass(frozen=True)
class _Recorder(Operator):
    seen: list[ConvSpec] = field(default_factory=list)

    def build(self, conv: ConvSpec) -> nn.Module:
        self.seen.append(conv)
        return nn.Identity()

    def cost(self, conv: ConvSpec, size: Size) -> Cost:
        raise AssertionError("a recorder builds nothing that costs")


@dataclass(frozen=True)
class _Noting(Wrapper):
    made: dict[int, str]

    def build(self, conv: ConvSpec) -> nn.Module:
        module = self.base.build(conv)
        self.made[id(module)] = conv.name
        return module

"""Copying weights from a super-network to the searched network, so that both give the same output.

In a mixed convolution the channels of one kernel are next to each other, so slots change their order. Norms
and the inputs of later convolutions are permuted here once, so nothing is permuted when the network runs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from app.core.errors import InputError
from app.core.layout import Layout
from app.layers.graph import ADDITIONS, trace
from app.models.checkpoint import Checkpoint
from app.models.network import NetworkSpec
from app.operators.mixed import MixedConv3d
from app.operators.supernet import SampledConv3d
from app.search.costs import Site
from app.search.decode import assign_slots
from app.search.penalty import super_convolutions
from app.search.search import searched_sites

_LEAVES = (SampledConv3d, nn.Conv3d, nn.ConvTranspose3d, nn.GroupNorm)  # with subclasses of our own


def inherit_search(target: nn.Module, spec: NetworkSpec, searched: Checkpoint) -> None:
    """Fill `target`, a network of `spec`, from the checkpoint of a search.

    Raises:
        InputError: the checkpoint has no gates, or is of a network of another shape.
    """
    sites, layout = searched_sites(searched.network), spec.layout()
    if not sites:
        raise InputError("train.init: got a network without gates, wanted the run folder of a mode=search")
    if layout is None:
        raise InputError("train.init: wanted op=cakes op.layout=<layout.yaml> of that search")
    if (spec.model, spec.shape) != (searched.network.model, searched.network.shape):
        raise InputError(
            f"train.init: got a search of {searched.network.model} {searched.network.shape}, "
            f"wanted {spec.model} {spec.shape}"
        )
    source = searched.network.build()
    parts = super_convolutions(source)
    if not all(isinstance(part, SampledConv3d) for part in parts.values()):
        raise InputError(
            "train.init: got a search by paper_cost or paper_performance, "
            "whose weights cannot be inherited; leave train.init out"
        )
    source.load_state_dict(searched.inference_weights)
    inherit(target, source, dict(zip(parts, sites, strict=True)), layout)


@torch.no_grad()
def inherit(target: nn.Module, source: nn.Module, sites: Mapping[str, Site], layout: Layout) -> None:
    """Fill `target`, built from `layout`, from the super-network `source`; `sites` by module path.

    Slots keep the kernels that give the layout's counts with the largest total score. The output equals that
    of `source` with all other gates disabled.

    Raises:
        InputError: the network adds two maps whose channels are in different orders.
    """
    chosen = {path: slot_kernels(source.get_submodule(path), site, layout) for path, site in sites.items()}
    orders = {
        path: [site.kernels.index(kernel) for kernel in layout.convolutions[site.conv.name]]
        for path, site in sites.items()
    }
    _Carrier(target, source, chosen, orders).run()


def slot_kernels(part: nn.Module, site: Site, layout: Layout) -> Tensor:
    """Return the index of each slot's kernel, (slots,).

    Raises:
        InputError: the layout has kernels that were not searched here.
    """
    assert isinstance(part, SampledConv3d)
    counts = layout.convolutions.get(site.conv.name)
    if counts is None or set(counts) - set(site.kernels):
        got, known = (", ".join(map(str, kernels)) for kernels in (counts or {}, site.kernels))
        raise InputError(
            f"train.init: {site.conv.name}: got the kernels {got or 'none'}, searched were {known}"
        )
    return torch.from_numpy(assign_slots(site, counts, part.scores().cpu().double().numpy()))


class _Carrier:
    """A walk through the network that copies weights and keeps track of the order of channels."""

    def __init__(
        self,
        target: nn.Module,
        source: nn.Module,
        chosen: Mapping[str, Tensor],
        kernels: Mapping[str, list[int]],
    ) -> None:
        """Carry the kernels `chosen` by slot; `kernels` has those of the target's groups, in order."""
        self._target, self._source, self._chosen, self._kernels = target, source, chosen, kernels
        self._orders: dict[fx.Node, Tensor] = {}
        """Channel i of a node's output is slot order[i] of the super-network's."""

    def run(self) -> None:
        for node in trace(self._source.train(), _LEAVES):
            if node.op == "call_module":
                order = self._module(str(node.target), self._orders.get(node.all_input_nodes[0]))
            else:
                order = self._function(node) if node.op in ("call_function", "call_method") else None
            if order is not None:
                self._orders[node] = order

    def _module(self, path: str, order: Tensor | None) -> Tensor | None:
        source, target = self._source.get_submodule(path), self._target.get_submodule(path)
        if isinstance(source, SampledConv3d):
            return self._shrink(path, source, target, order)
        if isinstance(source, nn.Conv3d | nn.ConvTranspose3d):
            axis = 0 if isinstance(source, nn.ConvTranspose3d) else 1
            weight = source.weight if order is None else source.weight.index_select(axis, order)
            _fill(target, {"weight": weight, "bias": source.bias})
            return torch.arange(source.out_channels)
        if isinstance(source, nn.GroupNorm):
            _fill(target, {"weight": source.weight[order], "bias": source.bias[order]})
        elif any(True for _ in source.parameters()):
            raise InputError(
                f"train.init: {path}: weights of {type(source).__name__} cannot be inherited; leave "
                "train.init out"
            )
        return order

    def _shrink(self, path: str, source: SampledConv3d, target: nn.Module, order: Tensor | None) -> Tensor:
        assert isinstance(target, MixedConv3d)
        places = [torch.nonzero(self._chosen[path] == index)[:, 0] for index in self._kernels[path]]
        for group, index, mine in zip(target.groups, self._kernels[path], places, strict=True):
            weight = source.candidates.of(index)[mine]
            weight = weight if order is None else weight.index_select(1, order)
            _fill(group, {"weight": weight})
        return torch.cat(places)

    def _function(self, node: fx.Node) -> Tensor | None:
        orders = [self._orders.get(one) for one in node.all_input_nodes]
        if node.target is torch.cat:
            return _side_by_side([order for order in orders if order is not None])
        if node.target in ADDITIONS and not all(_equal(order, orders[0]) for order in orders):
            raise InputError(
                "train.init: this network adds channels whose order the search has changed; "
                "inherit with model.block=plain, or leave train.init out"
            )
        return orders[0]


def _side_by_side(orders: list[Tensor]) -> Tensor:
    starts = torch.tensor([0, *(len(order) for order in orders)]).cumsum(0)
    return torch.cat([order + start for order, start in zip(orders, starts[:-1], strict=True)])


def _equal(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return first is second
    return torch.equal(first, second)


def _fill(module: nn.Module, values: Mapping[str, Tensor | None]) -> None:
    for name, value in values.items():
        if value is not None:
            module.get_parameter(name).copy_(value)

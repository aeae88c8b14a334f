"""A search: which convolutions, what they cost, under which budget; from there to a loss and to a layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.core.layout import Layout
from app.models.network import NetworkSpec, list_convolutions
from app.ops.supernet import SampledConv3d, SuperConv3d, SuperNet
from app.search.costs import CostModel, Site, dense_total
from app.search.decode import Decoded, Scores, best_under_budget, top_counts, total_cost
from app.search.evolve import Choice, Evolution
from app.search.methods import SearchSettings
from app.search.penalty import budget_penalty, gate_penalty, penalised, super_convolutions
from app.train.state import Loss


@dataclass(frozen=True)
class Search:
    """What a search has decided before it trains; `share` is the budget as a share of the dense cost."""

    settings: SearchSettings
    sites: tuple[Site, ...]
    costs: CostModel
    share: float

    def loss(self, loss: Loss, network: nn.Module) -> Loss:
        """The loss with the penalty of the method."""
        parts = sites_to_modules(network, self.sites)
        strength = self.settings.penalty_strength
        if self.settings.way.penalty == "gates":
            return penalised(loss, gate_penalty(list(parts.values()), strength))
        if self.settings.way.penalty == "budget":
            sampled = {site: part for site, part in parts.items() if isinstance(part, SampledConv3d)}
            return penalised(loss, budget_penalty(sampled, self.costs, share=self.share, strength=strength))
        return loss

    def decode(self, scores: Scores) -> Decoded:
        """The channels per kernel that scores ask for, by the rule of the method.

        Raises:
            InputError: no layout meets the budget.
        """
        if self.settings.way.decode != "top":
            align = self.settings.aligned
            return best_under_budget(self.sites, scores, self.costs, budget=self.share, align=align)
        counts = top_counts(self.sites, scores)
        dense = dense_total(self.sites, self.costs)
        return Decoded(counts, total_cost(self.sites, counts, self.costs) / dense, 0.0)

    def evolution(self, network: nn.Module) -> Evolution:
        """What evolves on a trained super-network."""
        parts = sites_to_modules(network, self.sites)
        return Evolution(
            sites=self.sites,
            units={site.conv.name: _unit_sizes(part) for site, part in parts.items()},
            chances={site.conv.name: _chances(part) for site, part in parts.items()},
            costs=self.costs,
            budget=self.share,
        )

    def layout(self, decoded: Decoded, provenance: Mapping[str, Any]) -> Layout:
        """The layout, with what each convolution costs as a share of the dense total."""
        dense = dense_total(self.sites, self.costs)
        costs = {
            site.conv.name: {
                "dense": round(dense_total([site], self.costs) / dense, 5),
                "layout": round(total_cost([site], decoded.counts, self.costs) / dense, 5),
            }
            for site in self.sites
        }
        facts = {"share": round(decoded.share, 5), "gap": decoded.gap, "costs": costs}
        return Layout(decoded.counts, {**provenance, **facts})


def searched_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """The convolutions a super-network searches, in the order the network asks for them."""
    found = []
    for conv in list_convolutions(spec.model, spec.shape):
        operator = spec.decoder if conv.name.startswith("decoder") else spec.encoder
        kernels = operator.candidates(conv) if isinstance(operator, SuperNet) else ()
        if kernels:
            found.append(Site(conv, kernels))
    return tuple(found)


def sites_to_modules(network: nn.Module, sites: Sequence[Site]) -> dict[Site, Any]:
    """The super-convolution of each site."""
    return dict(zip(sites, super_convolutions(network).values(), strict=True))


def choose(network: nn.Module, sites: Sequence[Site], choice: Choice) -> None:
    """Leave each unit of a super-network the kernel that a choice gives it."""
    for site, part in sites_to_modules(network, sites).items():
        chosen = torch.from_numpy(choice[site.conv.name]).to(part.gates.device)
        part.keep(part.of_slots(chosen[None])[0])


def network_scores(network: nn.Module, sites: Sequence[Site]) -> Scores:
    """What the gates of a trained super-network say, by convolution."""
    parts = sites_to_modules(network, sites)
    return {site.conv.name: part.scores().double().cpu().numpy() for site, part in parts.items()}


def _chances(part: SampledConv3d) -> NDArray[np.float64]:
    """Of each kernel in the first unit, which are those of all."""
    raw: NDArray[np.float64] = part.probabilities()[:, 0].detach().double().cpu().numpy()
    chances: NDArray[np.float64] = raw / raw.sum()
    return chances


def _unit_sizes(part: SuperConv3d) -> list[int]:
    starts = range(0, part.slots, part.unit)
    return [min(part.unit, part.slots - start) for start in starts]


def random_scores(sites: Sequence[Site], seed: int) -> Scores:
    """Scores that know nothing: the layout they give is a random one of the budget's cost."""
    rng = np.random.default_rng(seed)
    return {site.conv.name: rng.normal(size=(len(site.kernels), site.conv.out_channels)) for site in sites}


def budget_share(budget: float, *, searched: float, whole: float) -> float:
    """A budget as a share of the dense cost of the searched convolutions.

    Up to 1 it is one already; above, it is the cost of the whole network, of which the convolutions that
    are not searched have theirs. `searched` and `whole` are the dense costs of both.
    """
    return budget if budget <= 1 else (budget - (whole - searched)) / searched

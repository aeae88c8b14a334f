"""A search: its convolutions, costs and budget, the loss that it trains with, and the layout it decodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from app.core.layout import Layout
from app.models.network import NetworkSpec, list_convolutions
from app.operators.supernet import SampledConv3d, SuperNet
from app.search.costs import Budget, Site, dense_total, total_cost
from app.search.decode import (
    Decoded,
    KernelScores,
    best_under_budget,
    refuse_impossible,
    refuse_impossible_limit,
    top_counts,
)
from app.search.evolve import Evolution, UnitKernels, even_chances
from app.search.methods import SearchSettings
from app.search.penalty import budget_penalty, gate_penalty, penalised, super_convolutions
from app.train.state import LossFunction


@dataclass(frozen=True)
class Search:
    """A search before its training: settings, searched convolutions and budgets."""

    settings: SearchSettings
    sites: tuple[Site, ...]
    budget: Budget
    limits: tuple[Budget, ...] = ()
    """Further budgets, which need not be used up."""

    def loss(self, loss: LossFunction, network: nn.Module) -> LossFunction:
        """Return the loss with the penalty of the method added."""
        parts = sites_to_modules(network, self.sites)
        strength = self.settings.penalty_strength
        if self.settings.way.penalty == "gates":
            return penalised(loss, gate_penalty(list(parts.values()), strength))
        if self.settings.way.penalty == "budget":
            sampled = {site: part for site, part in parts.items() if isinstance(part, SampledConv3d)}
            return penalised(loss, budget_penalty(sampled, self.budget, strength=strength))
        return loss

    def decode(self, scores: KernelScores) -> Decoded:
        """Return the channels per kernel that follow from the scores by the rule of the method.

        Raises:
            InputError: no layout meets the budget.
        """
        if self.settings.way.decode == "budget":
            return best_under_budget(self.sites, scores, self.budget, align=self.settings.aligned)
        counts = top_counts(self.sites, scores)
        return Decoded(counts, self.budget.spent(self.sites, counts), 0.0)

    def refuse_impossible(self) -> None:
        """Check that some layout meets the budget and the limits, if the method has any.

        Raises:
            InputError: no layout meets them.
        """
        if self.settings.way.decode == "top":
            return
        refuse_impossible(self.sites, self.budget)
        for limit in self.limits:
            refuse_impossible_limit(self.sites, limit)
        if self.settings.way.decode == "evolve":
            self.evolution().by_chance(seed=0)

    def evolution(self) -> Evolution:
        """Return the evolution of layouts within the budgets, which can also draw a random one."""
        budgets = (self.budget, *self.limits)
        return Evolution(self.sites, budgets, even_chances(self.sites, budgets))

    def layout(self, decoded: Decoded, provenance: Mapping[str, Any]) -> Layout:
        """Return the layout; its provenance has each convolution's cost as a share of the dense total."""
        model = self.budget.costs
        dense = dense_total(self.sites, model)
        costs = {
            site.conv.name: {
                "dense": round(dense_total([site], model) / dense, 5),
                "layout": round(total_cost([site], decoded.counts, model) / dense, 5),
            }
            for site in self.sites
        }
        facts = {"share": round(decoded.share, 5), "gap": decoded.gap, "costs": costs}
        return Layout(decoded.counts, {**provenance, **facts})


def searched_sites(spec: NetworkSpec) -> tuple[Site, ...]:
    """Return the convolutions that a super-network searches, in the order of the network."""
    found = []
    for conv in list_convolutions(spec.model, spec.shape):
        operator = spec.decoder if conv.name.startswith("decoder") else spec.encoder
        if isinstance(operator, SuperNet) and (kernels := operator.candidates(conv)):
            found.append(Site(conv, kernels, operator.unit_of(conv)))
    return tuple(found)


def sites_to_modules(network: nn.Module, sites: Sequence[Site]) -> dict[Site, Any]:
    """Return the module of each searched convolution."""
    return dict(zip(sites, super_convolutions(network).values(), strict=True))


def choose(network: nn.Module, sites: Sequence[Site], choice: UnitKernels) -> None:
    """Let each unit of a super-network keep only its kernel in `choice`."""
    for site, part in sites_to_modules(network, sites).items():
        chosen = torch.from_numpy(choice[site.conv.name]).to(part.gates.device)
        part.keep(part.of_slots(chosen[None])[0])


def network_scores(network: nn.Module, sites: Sequence[Site]) -> KernelScores:
    """Return the scores of a trained super-network's gates, by convolution."""
    parts = sites_to_modules(network, sites)
    return {site.conv.name: part.scores().cpu().double().numpy() for site, part in parts.items()}


def budget_share(budget: float, *, searched: float, whole: float) -> float:
    """Return a budget as a share of the dense cost of the searched convolutions.

    A budget up to 1 is such a share. A larger one is the cost of the whole network; the cost of everything
    that is not searched is subtracted from it. `searched` and `whole` are the dense costs of the searched
    convolutions and of the network.
    """
    return budget if budget <= 1 else (budget - (whole - searched)) / searched

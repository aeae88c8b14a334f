"""The settings, cost models and budgets of a search, from the configuration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from app.cli.config.build import choose_device
from app.cli.config.settings import leave_out, read_settings, section_values
from app.core.digest import digest_of
from app.core.layout import Layout
from app.core.plan import Plan
from app.layers.latency import latency_ms
from app.models.network import NetworkSpec, to_device
from app.operators.plain import Conv3d
from app.search.costs import Budget, CostModel, MacsCost, ParamsCost, Site, dense_total
from app.search.latency_table import latency_costs
from app.search.methods import SearchSettings
from app.search.pricing import Counted, Prices, laid_out_network
from app.search.search import budget_share, searched_sites
from app.train.machine.environment import machine


def search_settings(cfg: DictConfig) -> SearchSettings:
    """Return the settings of the section `search`."""
    return read_settings(SearchSettings, leave_out(section_values(cfg.search), "paper"), "search")


def _cost_model(cfg: DictConfig, sites: tuple[Site, ...], cost: str) -> CostModel:
    if cost == "params":
        return ParamsCost()
    if cost == "macs":
        return MacsCost()
    settings = search_settings(cfg)
    path = Path(settings.latency_table or Path(cfg.paths.cache) / "latency.json")
    device = choose_device(cfg)
    return latency_costs(path, sites, align=settings.aligned, machine=machine(device), device=device)


def budget_of(cfg: DictConfig, spec: NetworkSpec, plan: Plan, cost: str, most: float) -> Budget:
    """Return a budget for layouts of the searched convolutions of `spec`."""
    sites = searched_sites(spec)
    costs = _cost_model(cfg, sites, cost)
    if most <= 1:
        return Budget(costs, most)
    whole = _whole(cfg, replace(spec, encoder=Conv3d(), decoder=Conv3d()), plan, cost)
    return Budget(costs, budget_share(most, searched=dense_total(sites, costs), whole=whole))


def _whole(cfg: DictConfig, spec: NetworkSpec, plan: Plan, cost: str) -> float:
    """Return the cost of a whole network: counted, or milliseconds measured now."""
    if cost == "latency":
        network = to_device(spec.build(), choose_device(cfg)).eval()
        return latency_ms(network, (1, spec.shape.in_channels, *plan.patch))
    counted = spec.cost(plan.patch)
    return float(counted.params if cost == "params" else counted.macs)


def network_prices(cfg: DictConfig, dense: NetworkSpec, searched: NetworkSpec, plan: Plan) -> Prices:
    """Return the costs of whole networks as shares of `search.budget` and `search.limits`.

    `dense` is the planned network, `searched` the same network with kernels to choose. A budget up to 1
    allows the cost of the planned network with a layout of that share; in milliseconds, that share of the
    planned network's time.
    """
    settings = search_settings(cfg)
    budgets, costs = {}, {}
    for kind, most in {settings.cost: settings.budget, **settings.limited}.items():
        costs[kind] = _whole_cost(cfg, dense, plan, kind)
        budgets[kind] = most
        if most <= 1:
            whole = _whole(cfg, dense, plan, kind)
            free = whole
            if kind != "latency":
                free = dense_total(searched_sites(searched), _cost_model(cfg, (), kind))
            budgets[kind] = whole - (1 - most) * free
    return Prices(budgets, costs)


def _whole_cost(cfg: DictConfig, dense: NetworkSpec, plan: Plan, kind: str) -> Callable[[Layout], float]:
    if kind != "latency":
        return Counted(dense, plan.patch, kind)
    known: dict[str, float] = {}

    def measured(layout: Layout) -> float:
        """Return the milliseconds of a network; each is timed once, since a second time would be another."""
        name = digest_of(replace(layout, provenance={}).to_dict())
        if name not in known:
            known[name] = _whole(cfg, laid_out_network(dense, layout), plan, kind)
        return known[name]

    return measured

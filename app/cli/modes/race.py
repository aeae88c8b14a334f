"""The mode search with search.method=race: short trainings of many networks find one for op=cakes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from app.cli.config.build import network_builder
from app.cli.config.search_costs import network_prices, search_settings
from app.cli.config.training import open_configured
from app.cli.modes.next_steps import command, on_task
from app.core import run_folder
from app.core.files import write_json
from app.core.layout import Layout, Outline, write_layout
from app.core.plan import Plan
from app.core.task import Task
from app.layers.cost import Cost
from app.models.checkpoint import write_checkpoint
from app.models.network import NetworkSpec
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.report.draw.layout_picture import write_layout_picture
from app.search.costs import Site
from app.search.finish import Finish
from app.search.judge import part_cases
from app.search.methods import SearchSettings
from app.search.pricing import Prices, laid_out_network, outline_of, outlined
from app.search.race import Race, Rung, clear, rungs
from app.search.search import searched_sites
from app.search.space import Space, variants
from app.train.planning import BuildNetwork
from app.train.step_speed import step_seconds
from app.train.training import Training

log = logging.getLogger(__name__)

_TIMED_PROPOSALS = 4  # each child is timed some twenty times while it is fitted to a budget of milliseconds


def run_race(cfg: DictConfig) -> Path:
    """Run a race, or draw one random network; write it, its layout and summary.json; return the folder."""
    settings = search_settings(cfg)
    with open_configured(cfg, make_builder=_dense_builder) as (training, tracker):
        # built again: once a race has ended, last.pt has the network of its winner
        dense = _dense_builder(cfg, training.task)(training.plan)
        track = _track(cfg, settings, dense, training.plan)
        if settings.method == "random":
            _write(training, track, track.space.random(training.recipe.seed), dict(training.facts))
        else:
            found = rungs(settings.steps or training.settings.total_steps, settings.networks)
            finish = _race(training, track, found)
            _write(training, track, finish.winner, _facts(training, found, finish))
            write_checkpoint(training.folder / run_folder.LAST, finish.checkpoint)
            clear(training.folder)
        tracker.finish()
        return training.folder


@dataclass(frozen=True)
class _Track:
    """The settings, the planned network, the space and the costs of a race."""

    settings: SearchSettings
    dense: NetworkSpec
    """The planned network."""
    space: Space
    prices: Prices


def _race(training: Training, track: _Track, found: Sequence[Rung]) -> Finish:
    dense, space = track.dense, track.space
    batches, judge = part_cases(training)
    training = replace(training, batches=batches)
    race = Race(training, space, lambda layout: laid_out_network(dense, layout), judge, found)
    if "latency" in track.prices.budgets:
        race = replace(race, proposals=_TIMED_PROPOSALS)
    typical = laid_out_network(dense, space.first(0, training.recipe.seed))
    kept = training.folder / run_folder.RACE / "speed.json"
    seconds = step_seconds(typical, training.plan, training.recipe, kept, labels=len(training.task.labels))
    trainings, steps = sum(rung.networks for rung in found), sum(rung.networks * rung.steps for rung in found)
    log.info(
        "race of %d networks: %d trainings of %s steps, %d steps in total, about %.0f min",
        *(found[0].networks, trainings, ", ".join(str(rung.steps) for rung in found), steps),
        seconds * race.equivalent_steps / 60,
    )
    finish = race.run()
    log.info(
        "the race took %.1f min (%.1f min of it to judge networks)%s",
        (finish.train_seconds + finish.judge_seconds + finish.draw_seconds) / 60,
        finish.judge_seconds / 60,
        ""
        if finish.agreement is None
        else f"; rank correlation of estimates with losses of the next rung: {finish.agreement:.2f}",
    )
    if finish.duel is None:
        log.info("network %d wins", finish.number)
    else:
        log.info(
            "network %d wins: network %d leads the planned network 0 by %.2f in estimated loss; to win, it "
            "must lead by at least one standard deviation of that (%.2f)",
            *(finish.number, finish.duel.challenger, finish.duel.lead, finish.duel.error),
        )
    return finish


def _track(cfg: DictConfig, settings: SearchSettings, dense: NetworkSpec, plan: Plan) -> _Track:
    supernet = SuperNet(
        kernels=settings.kernels,
        where=settings.where,
        paths="sampled",
        weights="shared",
        temperature=settings.temperature,
        unit=settings.aligned,
        most_units=settings.most_units,
    )

    @cache
    def sites(outline: Outline) -> tuple[Site, ...]:
        return searched_sites(outlined(dense, outline).redesigned(supernet))

    planned = outline_of(dense)
    prices = network_prices(cfg, dense, dense.redesigned(supernet), plan)
    outlines = variants(planned) if settings.space == "levels" else (planned,)
    return _Track(settings, dense, Space(outlines, sites, prices, settings.draws_networks), prices)


def _facts(training: Training, found: Sequence[Rung], finish: Finish) -> dict[str, Any]:
    """Return the facts of a race for summary.json."""
    steps = sum(rung.networks * rung.steps for rung in found)
    agreement = None if finish.agreement is None else round(finish.agreement, 3)
    return {
        **training.facts,
        "patch": list(training.plan.patch),
        "steps": steps,
        "samples": steps * training.plan.batch * training.settings.accumulate,
        "train_seconds": round(finish.train_seconds, 1),
        "decode_seconds": round(finish.judge_seconds + finish.draw_seconds, 1),
        "race": {
            "networks": [rung.networks for rung in found],
            "steps": [rung.steps for rung in found],
            "contestants": finish.contestants,
            "finalists": [round(one.loss, 5) for one in finish.finalists],
            "finalists_again": [round(one.again, 5) for one in finish.finalists],
            "estimates": [round(one.estimate, 5) for one in finish.finalists],
            "numbers": [one.number for one in finish.finalists],
            "winner": finish.number,
            "lead": None if finish.duel is None else round(finish.duel.lead, 3),
            "lead_error": None if finish.duel is None else round(finish.duel.error, 3),
            "spearman": agreement,
        },
    }


def _write(training: Training, track: _Track, found: Layout, facts: Mapping[str, Any]) -> None:
    """Write the network, its kernels, their picture, and summary.json."""
    dense, prices = track.dense, track.prices
    spent = {kind: round(share, 4) for kind, share in zip(prices.budgets, prices(found), strict=True)}
    provenance = {**provenance_of(training, track.settings), "spent": spent}
    network, layout = training.folder / run_folder.NETWORK, training.folder / run_folder.LAYOUT
    write_layout(network, replace(found, provenance=provenance))
    write_layout(layout, Layout(found.convolutions, provenance))
    write_layout_picture(layout, training.folder / run_folder.LAYOUT_PICTURE)
    own, whole = laid_out_network(dense, found).cost(training.plan.patch), dense.cost(training.plan.patch)
    summary = {
        **facts,
        "op": "cakes",
        **figures(own),
        "layout": {**figures(own), "spent": spent},
        "dense": figures(whole),
    }
    write_json(training.folder / run_folder.SUMMARY, summary)
    assert found.network is not None
    log.info(
        "%s: widths %s, decoder width %g; %.3f M parameters (dense as planned: %.3f M), %.2f GMAC per patch "
        "(dense: %.2f)",
        *(network, list(found.network.widths), found.network.decoder_width),
        *(own.params / 1e6, whole.params / 1e6, own.macs / 1e9, whole.macs / 1e9),
    )
    words = (f"op.layout={network}", f"plan.file={training.folder / run_folder.PLAN}")
    chosen = on_task(str(training.facts["task"]), training.task)
    log.info("to train it: %s", command(*chosen, "op=cakes", *words))


def provenance_of(training: Training, settings: SearchSettings) -> dict[str, Any]:
    """Return the settings, the data and the seed that a layout comes from."""
    return {
        "method": settings.method,
        "unit": settings.cost,
        "budget": settings.budget,
        "limits": settings.limited,
        "kernels": settings.kernels if isinstance(settings.kernels, str) else list(settings.kernels),
        "task": str(training.facts["task"]),
        "fold": training.split.fold,
        "seed": int(training.facts["seed"]),
        "patch": list(training.plan.patch),
    }


def figures(cost: Cost) -> dict[str, int]:
    """Return a cost as summary.json names it."""
    return {"params": cost.params, "macs_per_patch": cost.macs}


def _dense_builder(cfg: DictConfig, task: Task) -> BuildNetwork:
    return network_builder(cfg, task, Conv3d())

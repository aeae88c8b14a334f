"""The mode search: from a task and a budget to a layout that op=cakes trains."""

import copy
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from app.cli.config.build import network_builder
from app.cli.config.run_config import adopted_config
from app.cli.config.search_costs import budget_of, search_settings
from app.cli.config.settings import read_settings
from app.cli.config.training import open_configured, refuse_init
from app.cli.modes.next_steps import command, on_task
from app.cli.modes.race import figures, provenance_of, run_race
from app.compress.patches import training_patches
from app.compress.shrink import shrink
from app.core import run_folder
from app.core.files import write_json
from app.core.layout import Layout, write_layout
from app.core.plan import Plan
from app.core.progress import progress_bar
from app.core.task import Task
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.models.network import NetworkSpec, design
from app.models.regions import without_labels
from app.operators.mixed import Mixed
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.report.draw.layout_picture import write_layout_picture
from app.search.decode import Decoded
from app.search.evolve import UnitKernels
from app.search.judge import loss_over
from app.search.paper import PUBLISHED_PULL, PaperSettings
from app.search.search import Search, choose, network_scores, searched_sites
from app.train.planning import BuildNetwork
from app.train.run import score_held_out, train_network, training_facts
from app.train.state import TrainingState
from app.train.training import Training

log = logging.getLogger(__name__)
_JUDGED_BATCHES = 3


def run(cfg: DictConfig) -> Path:
    """Find a layout by `search.method`; write it, its picture and its costs; return the run folder."""
    refuse_init(cfg, "search", "a super-network starts from random weights")
    if search_settings(cfg).draws_networks or search_settings(cfg).method == "race":
        return run_race(cfg)
    if search_settings(cfg).way.shrinks:
        return _run_trained(cfg)
    factor = max(1, search_settings(cfg).way.length)
    published = read_settings(PaperSettings, cfg.search.paper, "search.paper")
    change = published.recipe if search_settings(cfg).published else None
    opening = open_configured(cfg, make_builder=_super_network, change=change, factor=factor)
    with opening as (training, tracker):
        search = _search(cfg, training.network, training.plan)
        search.refuse_impossible()  # raises now, not after the training
        decoded, facts = _find(training, search, published)
        _write(training, search.layout(decoded, _provenance(training, search)), facts)
        tracker.finish()
        return training.folder


def _run_trained(cfg: DictConfig) -> Path:
    """Shrink the trained network of search.model and evaluate it without a training step.

    Its data and its plan are kept.
    """
    settings = search_settings(cfg)
    source = Path(str(settings.model))
    trained = read_checkpoint(source / run_folder.LAST)
    if cfg.train.resume is None:
        cfg = adopted_config(cfg, source, "search.model")
    dense = replace(trained.network, shape=replace(trained.network.shape, patch=trained.plan.patch))
    operator = SuperNet(
        settings.kernels, settings.where, settings.way.paths, settings.path_weights, settings.temperature
    )
    spec = design(dense.model, dense.shape, operator, None)
    opening = open_configured(cfg, make_builder=lambda _cfg, _task: lambda _plan: spec, like=source)
    with opening as (training, tracker):
        search = _search(cfg, spec, training.plan)
        search.refuse_impossible()
        started = time.perf_counter()
        with progress_bar("Shrinking kernels", 2 * len(search.sites)) as advance:
            found = shrink(
                *(dense, trained.inference_weights, spec, search.decode),
                training_patches(training, settings.patches),
                distill=settings.method == "distill",
                rows=settings.rows,
                seed=training.recipe.seed,
                advance=advance,
            )
        seconds = round(time.perf_counter() - started, 1)
        state = training.state_of(found.weights)
        write_checkpoint(training.folder / run_folder.LAST, training.checkpoint(state))
        lost = {"answer_lost": round(found.answer_lost, 5), "shrink_seconds": seconds}
        facts = {**score_held_out(training, state), **lost}
        provenance = {**_provenance(training, search), "model": str(source)}
        _write(training, search.layout(found.decoded, provenance), facts)
        tracker.finish()
        return training.folder


def _search(cfg: DictConfig, spec: NetworkSpec, plan: Plan) -> Search:
    settings = search_settings(cfg)
    sites = searched_sites(spec)
    budget = budget_of(cfg, spec, plan, settings.cost, settings.budget)
    limits = (budget_of(cfg, spec, plan, cost, most) for cost, most in settings.limited.items())
    return Search(settings, sites, budget, tuple(limits))


def _find(training: Training, search: Search, published: PaperSettings) -> tuple[Decoded, dict[str, Any]]:
    """Return channels per kernel, from a trained super-network or, as a baseline, at random."""
    way = search.settings.way
    if way.length == 0:
        return search.evolution().by_chance(training.recipe.seed), dict(training.facts)
    if way.penalty == "gates":
        _log_pull(training, search, published)
    state = train_network(training, lambda network: search.loss(training.recipe.loss, network))
    started = time.perf_counter()
    if way.decode == "evolve":
        decoded, found = _evolve(training, search, state)
    else:
        decoded, found = search.decode(network_scores(state.judged, search.sites)), {}
    seconds = {"decode_seconds": round(time.perf_counter() - started, 1)}
    return decoded, {**training_facts(training, state), **seconds, **found}


def _log_pull(training: Training, search: Search, published: PaperSettings) -> None:
    """Log how far the penalty can move a scale in these steps, compared with the published search."""
    reach, strength = published.reach(training.settings.total_steps), search.settings.penalty_strength
    log.info(
        "search.strength=%g moves a scale by at most %.2g in %d steps; the published search moves it by "
        "%.2g; search.strength=%.2g would move it as far",
        *(strength, strength * reach, training.settings.total_steps, PUBLISHED_PULL, PUBLISHED_PULL / reach),
    )


def _evolve(training: Training, search: Search, state: TrainingState) -> tuple[Decoded, dict[str, float]]:
    """Return the best layout of many, judged on patches of training cases that no step has seen.

    In the checkpoint, the weights for prediction get gates that choose this layout, so `train.init` begins
    with exactly the network that was judged. The weights that a longer search would continue with do not
    change.
    """
    steps, network = training.settings.total_steps, copy.deepcopy(state.judged).eval()
    judged_network = without_labels(network)
    batches = [training.batches.batch(step) for step in range(steps, steps + _JUDGED_BATCHES)]

    @torch.inference_mode()
    def judge(choice: UnitKernels) -> float:
        choose(network, search.sites, choice)
        return loss_over(judged_network, batches, training.recipe.loss)

    evolution = search.evolution()
    choice, judged = evolution.run(judge, trials=search.settings.trials, seed=training.recipe.seed)
    choose(network, search.sites, choice)
    checkpoint = replace(training.checkpoint(state), averaged=network.state_dict())
    write_checkpoint(training.folder / run_folder.LAST, checkpoint)
    return evolution.decoded(choice), {"trials": len(judged), "loss_best": round(min(judged), 5)}


def _write(training: Training, layout: Layout, facts: dict[str, Any]) -> None:
    path = training.folder / run_folder.LAYOUT
    write_layout(path, layout)
    write_layout_picture(path, training.folder / run_folder.LAYOUT_PICTURE)
    spec, patch = training.network, training.plan.patch
    found, dense = (spec.redesigned(operator).cost(patch) for operator in (Mixed(layout), Conv3d()))
    shrunk = bool(layout.provenance.get("model"))  # its Dice is that of the layout, not of a super-network
    summary = {
        **facts,
        "op": "supernet",
        **(figures(found) if shrunk else {}),
        "layout": {**figures(found), "share": layout.provenance["share"], "gap": layout.provenance["gap"]},
        "dense": figures(dense),
    }
    write_json(training.folder / run_folder.SUMMARY, summary)
    log.info(
        "%s: %.1f %% of the dense %s of the searched convolutions",
        *(path, 100 * layout.provenance["share"], layout.provenance["unit"]),
    )
    log.info(
        "the whole network: %.3f M parameters (dense %.3f M), %.2f GMAC per patch (dense %.2f)",
        *(found.params / 1e6, dense.params / 1e6, found.macs / 1e9, dense.macs / 1e9),
    )
    chosen = on_task(str(training.facts["task"]), training.task)
    words = [f"op.layout={path}", f"plan.file={training.folder / run_folder.PLAN}"]
    if shrunk:  # its kernels are fitted
        words.append(f"train.init={training.folder}")
    log.info("to train it: %s", command(*chosen, "op=cakes", *words))


def _super_network(cfg: DictConfig, task: Task) -> BuildNetwork:
    settings = search_settings(cfg)
    operator = SuperNet(
        kernels=settings.kernels,
        where=settings.where,
        paths=settings.way.paths,
        weights=settings.path_weights,
        temperature=settings.temperature,
        unit=settings.aligned if settings.way.decode != "top" else 1,
        most_units=settings.most_units,
    )

    def build(plan: Plan) -> NetworkSpec:
        spec = network_builder(cfg, task, operator)(plan)
        if settings.way.decode != "evolve":
            return spec
        drawn = _search(cfg, spec, plan).evolution().chances
        chances = {name: values.tolist() for name, values in drawn.items()}
        return network_builder(cfg, task, replace(operator, chances=chances))(plan)

    return build


def _provenance(training: Training, search: Search) -> dict[str, Any]:
    settings = search.settings
    return {
        **provenance_of(training, settings),
        "budget_share": round(search.budget.share, 5),
        "align": settings.aligned,
        "weights": settings.path_weights,
    }

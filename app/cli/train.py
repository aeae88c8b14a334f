"""mode=train: from a data set to a run folder with a trained network, its masks, figures and report."""

import logging
import resource
from typing import Any

from omegaconf import DictConfig

from app.cli.build import build_loss, build_network, build_sliding
from app.cli.settings import plain
from app.cli.training import Training, open_training, train_network
from app.core import run_folder
from app.core.files import write_json
from app.infer.segmenter import Segmenter
from app.metrics.evaluate import Score, standard_metrics, summarise_scores, write_cases
from app.report import write_report
from app.train.held_out import evaluate_held_out
from app.train.state import TrainingState

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare, train, evaluate, report; or go on where `train.resume` stopped."""
<<<<<<< HEAD
    this = open_training(cfg, build_network)
    loss = build_loss(this.cfg)
    state = train_network(this, lambda network: loss)
    scores = _evaluate(this, state)
    summary = {**training_facts(this, state), **summarise_scores(scores), "peak_rss_mb": peak_rss_mb()}
=======
    folder, cfg, resumed = open_run(cfg)
    device = build_device(cfg)
    task, facts = open_task(cfg)
    cache = build_cache(cfg, task)
    plan, reasons = build_plan(cfg, task, cache)
    split = split_cases(
        task.cases, fold=cfg.fold, folds=cfg.folds, seed=cfg.split_seed, group=facts.group_rule
    )
    settings = read_settings(TrainSettings, _without(plain(cfg.train), "resume"), "train")
    this = _Run(folder, task, facts, plan, split, build_network(cfg, task, plan), settings)
    cached = cache.prepare(plan)
    training = [cached[case.id] for case in split.training]
    batches = build_batches(cfg, training, plan, len(task.labels), settings.foreground_share)
    if not resumed:
        _write_facts(this, reasons, cache)
    state = _train(cfg, this, batches, cached, device, resumed=resumed)
    _evaluate(cfg, this, state, device)


def _write_facts(this: _Run, reasons: Mapping[str, str], cache: Cache) -> None:
    """Everything but results, before the first step."""
    write_json(this.folder / run_folder.ENVIRONMENT, environment(cache.data_hash()))
    write_json(this.folder / run_folder.FINGERPRINT, cache.fingerprint().to_dict())
    write_plan(this.folder / run_folder.PLAN, this.plan, reasons)
    layout = this.network.layout()
    if layout is not None:
        write_layout(this.folder / run_folder.LAYOUT, layout)
    split = this.split
    files = {case.id: {"image": str(case.image), "label": str(case.label)} for case in this.task.cases}
    training, validation = ([case.id for case in cases] for cases in (split.training, split.validation))
    facts = {"fold": split.fold, "train": training, "validation": validation, "files": files}
    write_json(this.folder / run_folder.SPLIT, facts)


def _train(
    cfg: DictConfig,
    this: _Run,
    batches: BatchSource,
    cached: Mapping[str, CachedCase],
    device: torch.device,
    *,
    resumed: bool,
) -> TrainingState:
    torch.manual_seed(cfg.seed)
    network = to_device(this.network.build(), device)
    make_optimizer, make_schedule = build_optimizer(cfg)
    optimizer = make_optimizer(network.parameters())
    state = TrainingState(network, optimizer, make_schedule(optimizer), this.settings)
    if resumed:
        state.restore(read_checkpoint(this.folder / run_folder.LAST))
        log.info("going on at step %d of %d", state.step, this.settings.steps)
    cost = this.network.cost(this.plan.patch)
    log.info(
        "%d training and %d held-out cases, patch %s, batch %d; %.2f M parameters, %.2f GMAC a patch -> %s",
        *(len(this.split.training), len(this.split.validation), list(this.plan.patch), this.plan.batch),
        *(cost.params / 1e6, cost.macs / 1e9, this.folder),
    )
    held_out = [cached[case.id] for case in this.split.validation]
    validate = partial(
        validation_dice,
        cases=spread(held_out, this.settings.validation_cases),
        labels=this.task.foreground,
        plan=this.plan,
        # Half the usual overlap and no mirroring: a look at the trend, a tenth of the last evaluation's time.
        sliding=replace(build_sliding(cfg), overlap=0.25, mirror_axes=()),
    )
    ended = train(
        state,
        batches,
        build_loss(cfg),
        settings=this.settings,
        validate=validate,
        save=partial(_save, this=this),
        stop=partial(_take_request, this.folder / run_folder.STOP),
    )
    log.info("trained %d steps in %.1f min, ended by %s", state.step, state.seconds / 60, ended)
    if ended == "interrupted":
        raise Interrupted(f"interrupted at step {state.step}; go on with train.resume={this.folder}")
    return state


def _take_request(path: Path) -> bool:
    """Whether a file asks the training to end after this epoch, as `touch <run>/stop` does; removes it."""
    asked = path.exists()
    path.unlink(missing_ok=True)
    return asked


def _save(state: TrainingState, best: bool, *, this: _Run) -> None:
    write_metrics(this.folder / run_folder.METRICS, state.history)
    checkpoint = _checkpoint(state, this)
    if best:
        write_checkpoint(this.folder / run_folder.BEST, checkpoint)
    write_checkpoint(this.folder / run_folder.LAST, checkpoint)


def _checkpoint(state: TrainingState, this: _Run) -> Checkpoint:
    weights, averaged, training = state.export()
    return Checkpoint(
        network=this.network,
        plan=this.plan,
        modalities=this.task.modalities,
        labels=this.task.labels,
        weights=weights,
        averaged=averaged,
        training=training,
    )


def _evaluate(cfg: DictConfig, this: _Run, state: TrainingState, device: torch.device) -> None:
    """Figures of the last weights: the best ones were chosen on the very cases that judge."""
    segmenter = Segmenter.from_checkpoint(_checkpoint(state, this), sliding=build_sliding(cfg), device=device)
    metrics = standard_metrics(this.facts.nsd_tolerance_mm)
    scores = evaluate_held_out(segmenter, this.split.validation, this.task, this.folder, metrics)
    write_cases(this.folder / run_folder.CASES, scores)
    cost = this.network.cost(this.plan.patch)
    summary: dict[str, Any] = {
        **plain(cfg.choices),
        "fold": cfg.fold,
        "seed": cfg.seed,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "patch": list(this.plan.patch),
        "steps": state.step,
        "samples": state.step * this.plan.batch,
        "train_seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
        **summarise_scores(scores),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
>>>>>>> 9fd6277 (touch <run folder>/stop ends a training after its epoch, evaluated as if it had been meant to be that long)
    write_json(this.folder / run_folder.SUMMARY, summary)
    write_report([this.folder], this.folder / run_folder.REPORT)
    dice = ", ".join(f"{label} {value or 0:.4f}" for label, value in summary["dice"].items())
    log.info("mean Dice %.4f (%s)", summary["mean_dice"] or 0, dice)
    log.info("report: %s", this.folder / run_folder.REPORT)


def training_facts(this: Training, state: TrainingState) -> dict[str, Any]:
    """What was trained, on what, at what cost, for summary.json."""
    cost = this.network.cost(this.plan.patch)
    return {
        **plain(this.cfg.choices),
        "fold": this.cfg.fold,
        "seed": this.cfg.seed,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "patch": list(this.plan.patch),
        "steps": state.step,
        "samples": state.step * this.plan.batch,
        "train_seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
    }


def peak_rss_mb() -> int:
    """The most memory this process has held at once, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _evaluate(this: Training, state: TrainingState) -> list[Score]:
    """Scores of the last weights: the best ones were chosen on the very cases that judge."""
    segmenter = Segmenter.from_checkpoint(
        this.checkpoint(state), sliding=build_sliding(this.cfg), device=this.device
    )
    metrics = standard_metrics(this.facts.nsd_tolerance_mm)
    scores = evaluate_held_out(segmenter, this.split.validation, this.task, this.folder, metrics)
    write_cases(this.folder / run_folder.CASES, scores)
    return scores

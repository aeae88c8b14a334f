"""A training from plain settings: from its first step or last checkpoint to its final scores."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from app.core import run_folder
from app.core.errors import InputError, Interrupted
from app.core.files import write_json
from app.core.machine import peak_bytes
from app.data.sample.split import Split
from app.infer.scan.segmenter import Segmenter
from app.layers.device_policy import choose_precision, laid_out, policy_of
from app.metrics.results import write_scores
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.models.network import to_device
from app.operators.merging import merge_faster, use_recorded
from app.train.advice import naming_the_checkpoint
from app.train.final_scores import evaluate_held_out
from app.train.fine_tuning import Origin, begun_with, take_weights
from app.train.loop import ValidateFunction, limit, train
from app.train.machine.speed_record import note_speed, yardstick_facts
from app.train.metrics_csv import write_metrics
from app.train.settings import TrainSettings
from app.train.state import Loss, NotFinite, TrainingState
from app.train.training import Training
from app.train.validate import affordable, validation_dice

log = logging.getLogger(__name__)

MakeLoss = Callable[[nn.Module], Loss]
"""A function that returns the loss for a network; most losses do not depend on the network."""


Initialise = Callable[[Training, nn.Module, Origin], None]
"""A function that fills the network of a new run with the weights of its origin."""


def take_origin(this: Training, network: nn.Module, origin: Origin) -> None:
    """Copy every tensor of the origin that fits into a network, and record it.

    Raises:
        InputError: no tensor fits.
    """
    folder = this.folder if this.processes.leads else None
    take_weights(network, this.network, origin, this.task, folder)


def train_network(
    this: Training,
    make_loss: MakeLoss | None = None,
    *,
    initialise: Initialise = take_origin,
) -> TrainingState:
    """Train, or resume from the run's last checkpoint.

    `make_loss` builds a loss that depends on the network. `initialise` fills the fresh network of a new run
    from its origin, if it has one.

    Raises:
        Interrupted: the user stopped it; the checkpoint is written.
        InputError: the run has used up its time and is given more, the loss is not finite, or a file cannot
            be written; the message names the last checkpoint.
    """
    begin = partial(_begun, this, make_loss, initialise)
    state, loss = begin()
    if this.resumed:
        state.restore(read_checkpoint(this.folder / run_folder.LAST))
        _refuse_more_time(state, this.settings)
        log.info("resuming at step %d of %d", state.step, this.settings.total_steps)
    this.begun()
    _log_start(this)
    _note_speed(this)
    with naming_the_checkpoint(this, state, begin):
        ended = train(
            state,
            this.batches,
            loss,
            settings=this.settings,
            validate=_validation(this),
            save=partial(_save, this=this),
            stop=lambda: this.processes.agree(this.processes.leads and _take_request(this)),
        )
    log.info("trained %d steps in %.1f min, ended by %s", state.step, state.seconds / 60, ended)
    if ended == "interrupted":
        raise Interrupted(f"interrupted at step {state.step}; resume with {this.resumes_by}")
    _note_speed(this)
    return state


def _begun(this: Training, make_loss: MakeLoss | None, initialise: Initialise) -> tuple[TrainingState, Loss]:
    """Return a training before its first step, and its loss."""
    torch.manual_seed(this.recipe.seed)
    network = to_device(this.network.build(), this.recipe.device)
    if this.origin is not None and not this.resumed:
        initialise(this, network, this.origin)
    _merge_convolutions(this, network)
    return this.state(network), this.recipe.loss if make_loss is None else make_loss(network)


def _merge_convolutions(this: Training, network: nn.Module) -> None:
    """Choose which mixed convolutions run as one dense convolution, as measured here or recorded earlier.

    Only the leading process measures, and only on devices where merging can be faster.
    """
    device = this.recipe.device
    if not policy_of(device).merges or use_recorded(network, this.folder, device):
        return
    if this.processes.leads:
        size = (this.plan.batch // this.processes.count, this.network.shape.in_channels, *this.plan.patch)
        precision = choose_precision(this.settings.precision, device)
        merge_faster(network, laid_out(torch.randn(size, device=device)), precision, this.folder)
    this.processes.agree(None)
    use_recorded(network, this.folder, device)


def score(this: Training, state: TrainingState) -> dict[str, Any]:
    """Evaluate with all processes; write predictions, cases.csv, statistics.json and summary.json.

    The last weights are evaluated, not the best ones: those were selected on the same held-out cases. Returns
    the summary; it is empty in all processes except the leading one.
    """
    recipe = this.recipe
    segmenter = Segmenter.from_checkpoint(
        this.checkpoint(state),
        sliding=recipe.sliding,
        device=recipe.device,
        precision=state.precision,
        run=this.folder,
    )
    judge = partial(
        evaluate_held_out,
        segmenter,
        task=this.task,
        nsd_tolerance_mm=recipe.nsd_tolerance_mm,
        groups=this.split.groups,
        processes=this.processes,
    )
    held_out = judge(cases=this.split.validation, run=this.folder)
    test = judge(cases=this.split.test, run=this.folder / run_folder.TEST)
    if not this.processes.leads:
        return {}
    figures: dict[str, Any] = {"mean_dice": None, "dice": {}}
    if held_out.scores:
        figures = write_scores(this.folder, held_out.scores, recipe.strata, held_out.sums)
    if test.scores:
        figures["test"] = write_scores(this.folder / run_folder.TEST, test.scores, recipe.strata, test.sums)
    peak = {"peak_rss_mb": round(peak_bytes() / 2**20)}
    summary = {**training_facts(this, state), **figures, **peak}
    write_json(this.folder / run_folder.SUMMARY, summary)
    return summary


def training_facts(this: Training, state: TrainingState) -> dict[str, Any]:
    """Return for summary.json the network, the data, the cost and the duration of a training."""
    cost = this.network.cost(this.plan.patch)
    return {
        **this.facts,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "patch": list(this.plan.patch),
        "steps": state.step,
        "processes": this.processes.count,
        "precision": str(state.precision).removeprefix("torch."),
        "samples": state.step * this.plan.batch * this.settings.accumulate,
        "train_seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
        **yardstick_facts(this.folder, state.seconds),
        **begun_with(this.folder),
    }


def _refuse_more_time(state: TrainingState, settings: TrainSettings) -> None:
    """Refuse to continue a schedule that has ended with the time: its learning rate is used up."""
    if state.clock >= settings.total_steps and not limit(state, settings):
        raise InputError(
            f"train.max_minutes: got {settings.max_minutes}, but the learning rate schedule of this run has "
            "already ended; leave it out, or start a new run with more time"
        )


def _note_speed(this: Training) -> None:
    """Measure the machine's speed in the leading process; the others wait in their first step."""
    if this.processes.leads and this.recipe.measure_speed:
        note_speed(this.folder, this.recipe.device)


def _take_request(this: Training) -> bool:
    """Return whether the file `stop` asks the training to end after this epoch; remove the file.

    A first stage keeps the file, so that the second stage ends after its first epoch.
    """
    path = this.resumes_at / run_folder.STOP
    asked = path.exists()
    if this.folder == this.resumes_at:
        path.unlink(missing_ok=True)
    return asked


def _validation(this: Training) -> ValidateFunction:
    settings = this.settings
    if not this.split.validation:
        return lambda _network, _epoch: dict.fromkeys(this.task.targets)
    # Half the usual overlap and no mirroring: enough to see the trend in a fraction of the time.
    sliding = replace(this.recipe.sliding, overlap=0.25, mirror_axes=())
    sliding = sliding.suited(fits_other_sizes=this.network.fits_other_sizes())
    credit = affordable(
        [this.cached[case.id] for case in this.split.validation],
        most=settings.validation_cases,
        patches=min(settings.epoch_steps, settings.total_steps) * settings.accumulate * this.plan.batch,
        plan=this.plan,
        sliding=sliding,
    )

    precision = choose_precision(settings.precision, this.recipe.device)

    def validate(network: nn.Module, epoch: int) -> dict[str, float | None]:
        if epoch % credit.every:
            return dict.fromkeys(this.task.targets)
        return validation_dice(
            network,
            credit.cases,
            task=this.task,
            plan=this.plan,
            sliding=sliding,
            precision=precision,
            processes=this.processes,
        )

    return validate


def _log_start(this: Training) -> None:
    cost = this.network.cost(this.plan.patch)
    log.info(
        "%d training, %d held-out%s cases, patch %s, batch %d",
        *(len(this.split.training), len(this.split.validation), _and_test(this.split)),
        *(list(this.plan.patch), this.plan.batch),
    )
    log.info("%.2f M parameters, %.2f GMAC per patch", cost.params / 1e6, cost.macs / 1e9)
    log.info("run folder: %s", this.folder)


def _and_test(split: Split) -> str:
    return f", {len(split.test)} test" if split.test else ""


def _save(state: TrainingState, best: bool, *, this: Training) -> None:
    if not this.processes.leads:
        return
    _refuse_broken(state)
    write_metrics(this.folder / run_folder.METRICS, state.history)
    checkpoint = this.checkpoint(state)
    if best and this.split.validation:  # without held-out cases the best weights are unknown
        write_checkpoint(this.folder / run_folder.BEST, checkpoint)
    write_checkpoint(this.folder / run_folder.LAST, checkpoint)
    this.follow(state.history)


def _refuse_broken(state: TrainingState) -> None:
    """Refuse to save weights that are not finite; gradients can overflow although the loss is finite."""
    for name, values in state.network.state_dict().items():
        if not torch.isfinite(values).all():
            raise NotFinite(f"step {state.step}: got weights that are not finite in {name}")

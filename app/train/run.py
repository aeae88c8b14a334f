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
from app.core.files import remove, write_json
from app.core.machine import peak_bytes
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
from app.train.state import LossFunction, NotFinite, TrainingState
from app.train.training import Training
from app.train.validate import affordable, validation_dice

log = logging.getLogger(__name__)

MakeLoss = Callable[[nn.Module], LossFunction]
"""A function that returns the loss for a network; most losses do not depend on the network."""


Initialise = Callable[[Training, nn.Module, Origin], None]
"""A function that fills the network of a new run with the weights of its origin."""


def take_origin(training: Training, network: nn.Module, origin: Origin) -> None:
    """Copy every tensor of the origin that fits into a network, and record it.

    Raises:
        InputError: no tensor fits.
    """
    folder = training.folder if training.processes.leads else None
    take_weights(network, training.network, origin, training.task, folder)


def train_network(
    training: Training,
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
    begin = partial(_begun, training, make_loss, initialise)
    state, loss = begin()
    if training.resumed:
        state.restore(read_checkpoint(training.folder / run_folder.LAST))
        _refuse_more_time(state, training.settings)
        log.info("resuming at step %d of %d", state.step, training.settings.total_steps)
    training.begun()
    _log_start(training)
    _note_speed(training)
    with naming_the_checkpoint(training, state, begin):
        ended = train(
            state,
            training.batches,
            loss,
            settings=training.settings,
            validate=_validation(training),
            save=partial(_save, training=training),
            stop=lambda: training.processes.agree(training.processes.leads and _take_request(training)),
        )
    log.info("trained %d steps in %.1f min, ended by %s", state.step, state.seconds / 60, ended)
    if ended == "interrupted":
        raise Interrupted(f"interrupted at step {state.step}; resume with {training.resumes_by}")
    _note_speed(training)
    return state


def _begun(
    training: Training, make_loss: MakeLoss | None, initialise: Initialise
) -> tuple[TrainingState, LossFunction]:
    """Return a training before its first step, and its loss."""
    torch.manual_seed(training.recipe.seed)
    network = to_device(training.network.build(), training.recipe.device)
    if training.origin is not None and not training.resumed:
        initialise(training, network, training.origin)
    _merge_convolutions(training, network)
    return training.state(network), training.recipe.loss if make_loss is None else make_loss(network)


def _merge_convolutions(training: Training, network: nn.Module) -> None:
    """Choose which mixed convolutions run as one dense convolution, as measured here or recorded earlier.

    Only the leading process measures, and only on devices where merging can be faster.
    """
    device = training.recipe.device
    if not policy_of(device).merges or use_recorded(network, training.folder, device):
        return
    if training.processes.leads:
        size = (
            training.plan.batch // training.processes.count,
            training.network.shape.in_channels,
            *training.plan.patch,
        )
        precision = choose_precision(training.settings.precision, device)
        merge_faster(network, laid_out(torch.randn(size, device=device)), precision, training.folder)
    training.processes.agree(None)
    use_recorded(network, training.folder, device)


def score_held_out(training: Training, state: TrainingState) -> dict[str, Any]:
    """Evaluate with all processes; write predictions, cases.csv, statistics.json and summary.json.

    The last weights are evaluated, not the best ones: those were selected on the same held-out cases. Returns
    the summary; it is empty in all processes except the leading one.
    """
    recipe = training.recipe
    segmenter = Segmenter.from_checkpoint(
        training.checkpoint(state),
        sliding=recipe.sliding,
        device=recipe.device,
        precision=state.precision,
        run=training.folder,
    )
    judge = partial(
        evaluate_held_out,
        segmenter,
        task=training.task,
        nsd_tolerance_mm=recipe.nsd_tolerance_mm,
        groups=training.split.groups,
        processes=training.processes,
    )
    held_out = judge(cases=training.split.validation, run=training.folder)
    test = judge(cases=training.split.test, run=training.folder / run_folder.TEST)
    if not training.processes.leads:
        return {}
    figures: dict[str, Any] = {"mean_dice": None, "dice": {}}
    if held_out.scores:
        figures = write_scores(training.folder, held_out.scores, recipe.strata, held_out.sums)
    if test.scores:
        figures["test"] = write_scores(
            training.folder / run_folder.TEST, test.scores, recipe.strata, test.sums
        )
    peak = {"peak_rss_mb": round(peak_bytes() / 2**20)}
    summary = {**training_facts(training, state), **figures, **peak}
    write_json(training.folder / run_folder.SUMMARY, summary)
    return summary


def training_facts(training: Training, state: TrainingState) -> dict[str, Any]:
    """Return the network, the data, the cost and the duration of a training, for summary.json."""
    cost = training.network.cost(training.plan.patch)
    return {
        **training.facts,
        "params": cost.params,
        "macs_per_patch": cost.macs,
        "patch": list(training.plan.patch),
        "steps": state.step,
        "processes": training.processes.count,
        "dtype": str(state.precision).removeprefix("torch."),
        "samples": state.step * training.plan.batch * training.settings.accumulate,
        "train_seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
        **yardstick_facts(training.folder, state.seconds),
        **begun_with(training.folder),
    }


def _refuse_more_time(state: TrainingState, settings: TrainSettings) -> None:
    """Refuse to continue a schedule that has ended with the time: its learning rate has reached its end."""
    if state.clock >= settings.total_steps and not limit(state, settings):
        raise InputError(
            f"train.max_minutes: got {settings.max_minutes}, but the learning rate schedule of this run has "
            "already ended; leave it out, or start a new run with more time"
        )


def _note_speed(training: Training) -> None:
    """Measure the machine's speed in the leading process; the others wait in their first step."""
    if training.processes.leads and training.recipe.measure_speed:
        note_speed(training.folder, training.recipe.device)


def _take_request(training: Training) -> bool:
    """Return whether the file `stop` asks the training to end after this epoch; remove the file.

    A first stage keeps the file, so that the second stage ends after its first epoch.
    """
    path = training.resumes_at / run_folder.STOP
    asked = path.exists()
    if asked and training.folder == training.resumes_at:
        remove(path)
    return asked


def _validation(training: Training) -> ValidateFunction:
    settings = training.settings
    if not training.split.validation:
        return lambda _network, _epoch: dict.fromkeys(training.task.targets)
    # Half the usual overlap and no mirroring: enough to see the trend in a fraction of the time.
    sliding = replace(training.recipe.sliding, overlap=0.25, mirror_axes=())
    sliding = sliding.suited(fits_other_sizes=training.network.fits_other_sizes())
    credit = affordable(
        [training.cached[case.id] for case in training.split.validation],
        most=settings.validation_cases,
        patches=min(settings.epoch_steps, settings.total_steps) * settings.accumulate * training.plan.batch,
        plan=training.plan,
        sliding=sliding,
    )

    precision = choose_precision(settings.precision, training.recipe.device)

    def validate(network: nn.Module, epoch: int) -> dict[str, float | None]:
        if epoch % credit.every:
            return dict.fromkeys(training.task.targets)
        return validation_dice(
            network,
            credit.cases,
            task=training.task,
            plan=training.plan,
            sliding=sliding,
            precision=precision,
            processes=training.processes,
        )

    return validate


def _log_start(training: Training) -> None:
    cost, split = training.network.cost(training.plan.patch), training.split
    test = f", {len(split.test)} test" if split.test else ""
    log.info(
        "%d training, %d held-out%s cases, patch %s, batch %d",
        *(len(split.training), len(split.validation), test),
        *(list(training.plan.patch), training.plan.batch),
    )
    log.info("%.2f M parameters, %.2f GMAC per patch", cost.params / 1e6, cost.macs / 1e9)
    log.info("run folder: %s", training.folder)


def _save(state: TrainingState, best: bool, *, training: Training) -> None:
    if not training.processes.leads:
        return
    _refuse_broken(state)
    write_metrics(training.folder / run_folder.METRICS, state.history)
    checkpoint = training.checkpoint(state)
    if best and training.split.validation:  # without held-out cases the best weights are unknown
        write_checkpoint(training.folder / run_folder.BEST, checkpoint)
    write_checkpoint(training.folder / run_folder.LAST, checkpoint)
    training.follow(state.history)


def _refuse_broken(state: TrainingState) -> None:
    """Refuse to save weights that are not finite; gradients can overflow although the loss is finite."""
    for name, values in state.network.state_dict().items():
        if not torch.isfinite(values).all():
            raise NotFinite(f"step {state.step}: got weights that are not finite in {name}")

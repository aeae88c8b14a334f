"""The judge of a race: the loss on patches of training cases on which no network of the race trains.

All patches count as one batch, because a label with a few voxels in one patch can have a loss so large there
that a mean over patches says little about the network.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cached_case import CachedCase
from app.data.sample.batches import Batch, BatchSource
from app.data.sample.partial import partial_labels
from app.data.sample.patches import PatchSampler
from app.data.sample.split import inner_split
from app.models.regions import without_labels
from app.train.inputs import make_batches
from app.train.machine.shared_loss import exchanging_sums
from app.train.state import LossFunction, batch_loss
from app.train.training import Recipe, Training

JUDGED = 24
"""Batches that judge a network. The rank correlation with as many other batches is .5 for 3 and .9 for 24."""


@dataclass(frozen=True)
class Judge:
    """A function that returns the loss of a network on batches that no network trains on; lower is better."""

    batches: BatchSource
    loss: LossFunction

    def __call__(self, network: nn.Module) -> float:
        """Return the loss of a network."""
        batches = (self.batches.batch(number) for number in range(JUDGED))
        return loss_over(without_labels(network.eval()), batches, self.loss)


@torch.inference_mode()
def loss_over(network: nn.Module, batches: Iterable[Batch], loss: LossFunction) -> float:
    """Return the loss of all batches as if they were one batch.

    A loss that needs all logits at once is computed per batch, and the mean is returned.
    """
    gathered: list[Tensor] = []

    def with_earlier(sums: Tensor) -> Tensor:
        gathered.append(sums)
        return torch.cat(gathered)

    of_all = exchanging_sums(loss, with_earlier)
    losses = [batch_loss(network, batch, of_all or loss).item() for batch in batches]
    return fmean(losses) if of_all is None else losses[-1]


def part_cases(training: Training) -> tuple[BatchSource, Judge]:
    """Return batches of four fifths of the training cases, and a judge on unaugmented ones of the rest."""
    inner = inner_split(training.split, training.recipe.seed)
    train, judge = (
        [training.cached[case.id] for case in cases] for cases in (inner.training, inner.validation)
    )
    plan, task, recipe = training.plan, training.task, training.recipe
    batches = make_batches(train, plan, task, recipe=recipe, settings=training.settings)
    return batches, judge_on(judge, plan, task, recipe)


def judge_on(cases: Sequence[CachedCase], plan: Plan, task: Task, recipe: Recipe) -> Judge:
    """Return a judge with unaugmented batches of these cases, which depend on the recipe's seed."""
    sampler = PatchSampler(
        cases,
        size=plan.patch,
        margin=plan.patch,
        batch=plan.batch,
        foreground_share=plan.foreground_share,
        seed=recipe.seed,
        codes=partial_labels(task).codes,
    )
    return Judge(BatchSource(sampler, None, seed=recipe.seed), recipe.loss)

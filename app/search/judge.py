"""The judge of a race: the loss on patches of training cases on which no network of the race trains.

All patches count as one batch, because a label with a few voxels in one patch can have a loss so large there
that a mean over patches says little about the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from app.data.sample.batches import Batch, BatchSource
from app.data.sample.partial import partial_labels
from app.data.sample.patches import PatchSampler
from app.data.sample.split import Folds, split_cases
from app.models.regions import without_labels
from app.train.inputs import make_batches
from app.train.machine.shared_loss import exchanging_sums
from app.train.state import LossFunction, batch_loss
from app.train.training import Training

JUDGED = 24
"""Batches that judge a network. The rank correlation with as many other batches is .5 for 3 and .9 for 24."""
_PARTS = 5  # of the training cases; one part judges


@dataclass(frozen=True)
class Judge:
    """A function that returns the loss of a network on batches that no network trains on; lower is better."""

    batches: BatchSource

    def __call__(self, training: Training, network: nn.Module) -> float:
        """Return the loss of a network."""
        batches = (self.batches.batch(number) for number in range(JUDGED))
        return loss_over(without_labels(network.eval()), batches, training.recipe.loss)


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
    """Return batches of four fifths of the training cases, and a judge with unaugmented batches of the rest.

    Cases of one group stay together. If there is a single group, the same cases train and judge.
    """
    groups: dict[str, list[str]] = {}
    for case in training.split.training:
        groups.setdefault(training.split.groups.get(case.id, case.id), []).append(case.id)
    train = judge = training.split.training
    if len(groups) > 1:
        folds = Folds(0, min(_PARTS, len(groups)), training.recipe.seed)
        parts = split_cases(training.split.training, folds, duplicates=list(groups.values()))
        train, judge = parts.training, parts.validation
    plan, recipe = training.plan, training.recipe
    batches = make_batches(
        [training.cached[case.id] for case in train],
        plan,
        training.task,
        recipe=recipe,
        settings=training.settings,
    )
    sampler = PatchSampler(
        [training.cached[case.id] for case in judge],
        size=plan.patch,
        margin=plan.patch,
        batch=plan.batch,
        foreground_share=plan.foreground_share,
        seed=recipe.seed,
        codes=partial_labels(training.task).codes,
    )
    return batches, Judge(BatchSource(sampler, None, seed=recipe.seed))

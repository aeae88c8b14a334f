"""The distance between foreground parts of one case, learnt from the training cases."""

import logging
import math
from collections.abc import Mapping

import numpy as np

from app.core.plan import Plan
from app.core.task import Task
from app.data.prepare.cached_case import CachedCase
from app.data.sample.partial import partial_labels
from app.data.sample.split import Split
from app.infer.scan.distant_parts import joining_distance

_SURE = 50  # cases that show no distant parts: then at most 6 of 100 others do, with 95 % confidence
_LOOKED_AT = 200

log = logging.getLogger(__name__)


def learn_joining(split: Split, task: Task, plan: Plan, cached: Mapping[str, CachedCase]) -> float | None:
    """Return the distance that joins the foreground of every training case; None if there is no such rule.

    Few training cases do not show how others look, so the rule needs at least `_SURE` of them, each of
    another group, and all labels annotated in each. At most `_LOOKED_AT` are read.
    """
    groups = {split.groups.get(case.id, case.id): case.id for case in split.training}
    if len(groups) < _SURE or partial_labels(task).sets:
        return None
    looked_at = list(groups.values())[:: math.ceil(len(groups) / _LOOKED_AT)]
    ignored = -1 if task.ignore is None else task.ignore
    labels = (cached[case].labels().whole(np.int64)[0] for case in looked_at)
    distance = joining_distance(((part > 0) & (part != ignored) for part in labels), plan.spacing)
    if distance is not None:
        log.info(
            "predictions drop parts over %g mm from all others, because %d training cases have no such gap",
            *(distance, len(looked_at)),
        )
    return distance

"""The first sentences of the page: how good the network is, or which group of runs is best at what cost."""

from app.metrics.metric import METRICS
from app.metrics.statistics import mean_dice, presence
from app.report.compare.groups import Comparison, Group
from app.report.read.ranking import notable_cases
from app.report.read.runs import Run
from app.report.wording import decimals, duration, interval_text, mean, probability, scaled, signed

_DICE = METRICS[0]


def score_sentences(run: Run) -> str:
    """Return sentences about the scores of a single run; empty if no case was scored."""
    scores = run.scores or ()
    found, interval = mean_dice(scores)
    if found is None:
        return ""
    cases, groups = {score.case for score in scores}, {score.unit for score in scores}
    units = "" if len(groups) == len(cases) else f" of {len(groups)} groups (patients)"
    sure = "" if interval is None else f" (95 % interval {interval_text(_DICE, interval)})"
    sentences = [f"Mean Dice is {found:.3f}{sure} over {len(cases)} held-out cases{units}."]
    defined = {name: value for name, value in run.summary.dice.items() if value is not None}
    if len(defined) > 1:
        label = min(defined, key=defined.__getitem__)
        sentences.append(f"The label with the lowest Dice is {label} with {defined[label]:.3f}.")
    there = presence([score for score in scores if score.reference_mm3 > 0])
    sentences.append(f"{len(there.missed)} of {there.cases} labels are missed.")
    worst = [case for case in notable_cases(run) if case.mean_dice is not None]
    if len(cases) > 1 and worst:
        lowest = min(worst, key=lambda case: case.mean_dice or 0.0)
        sentences.append(f"The worst case is {lowest.case} with {decimals(lowest.mean_dice, 3)}.")
    return " ".join(sentences)


def winner(found: Comparison) -> str:
    """Return a sentence about the group with the highest mean Dice and what it cost; empty without scores."""
    dice = {group.name: mean(run.summary.mean_dice for run in group.runs) for group in found.groups}
    scored = [group for group in found.groups if dice[group.name] is not None]
    if not scored:
        return ""
    best = max(scored, key=lambda group: dice[group.name] or 0.0)
    value = decimals(dice[best.name], 3)
    return f"{best.name} has the highest mean Dice, {value}{_lead(best, found)}; {_cost(best)}."


def _lead(best: Group, found: Comparison) -> str:
    """Return the difference of a group to the baseline as text."""
    if best.name == found.baseline:
        return " (it is the baseline)"
    less = best.difference
    if less is None:
        return ""
    sure = f"95 % interval {signed(less.low)} to {signed(less.high)}"
    p = "" if less.p is None else f", p {'' if less.p < 0.0005 else '= '}{probability(less.p)}"
    chance = ", which may be chance" if less.low <= 0 <= less.high else ""
    return f", a difference of {signed(less.mean)} to {found.baseline} on the same cases ({sure}{p}){chance}"


def _cost(group: Group) -> str:
    """Return what a run of the group takes as text."""
    runs = [run.summary for run in group.runs]
    seconds = mean(run.search_seconds or run.train_seconds for run in runs)
    params, macs = mean(run.params for run in runs), mean(run.macs_per_patch for run in runs)
    known = [
        "" if seconds is None else f"{duration(seconds)} of training",
        "" if params is None else f"{scaled(params)} parameters",
        "" if macs is None else f"{scaled(macs)} MACs per patch",
    ]
    cost = ", ".join(one for one in known if one) or "unknown"
    return f"its cost is {cost}" if len(runs) == 1 else f"the cost of each of its {len(runs)} runs is {cost}"

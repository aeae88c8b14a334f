"""Groups of runs that differ only in seed and fold, compared with a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.core.errors import InputError
from app.core.sweep import Sweep
from app.report.compare.comparison import CaseMeans, Difference, case_means, difference, holm
from app.report.read.runs import Run


@dataclass(frozen=True)
class Group:
    """The runs of one group; `difference` is None for the baseline and if no cases are shared."""

    name: str
    runs: tuple[Run, ...]
    difference: Difference | None


@dataclass(frozen=True)
class Comparison:
    """All groups in order, and the baseline that the others are compared with."""

    baseline: str
    groups: tuple[Group, ...]
    baseline_means: CaseMeans
    baseline_runs: tuple[Run, ...] = ()

    def of_run(self, run: Run) -> Difference | None:
        """Compare a single run with all runs of the baseline; None for a run of the baseline."""
        inside = {
            member.name for group in self.groups if group.name == self.baseline for member in group.runs
        }
        return (
            None
            if run.name in inside
            else difference(case_means([run]), self.baseline_means, [run], self.baseline_runs)
        )


def compare(runs: Sequence[Run], sweep: Sweep | None) -> Comparison | None:
    """Sort runs into the groups of their sweep and compare these; without a sweep each run is a group.

    Returns None if no run has scores.

    Raises:
        InputError: no group has the name of the sweep's baseline.
    """
    named = {entry.name: entry.group for entry in sweep.entries} if sweep else {}
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(named.get(run.folder.name, run.name), []).append(run)
    scored = [name for name, group in members.items() if any(run.scores for run in group)]
    if not scored:
        return None
    baseline = (sweep and sweep.baseline) or scored[0]
    if sweep and sweep.baseline and baseline not in {entry.group for entry in sweep.entries}:
        raise InputError(
            f"sweep.baseline: got {baseline!r}, wanted one of {', '.join(dict.fromkeys(named.values()))}"
        )
    baseline_runs = members.get(baseline, [])
    means = case_means(baseline_runs)
    found = {
        name: None if name == baseline else difference(case_means(group), means, group, baseline_runs)
        for name, group in members.items()
    }
    corrected = dict(
        zip(found, holm([None if each is None else each.p for each in found.values()]), strict=True)
    )
    groups = tuple(
        Group(name, tuple(members[name]), each and replace(each, p=corrected[name]))
        for name, each in found.items()
    )
    return Comparison(baseline, groups, means, tuple(baseline_runs))

"""The check of a data set: each case by itself, in parallel, then all cases together."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from app.core.task import Case, GroupRule, Task
from app.data.doctor.examine import Examined, examine
from app.data.doctor.finding import Finding, Severity, error
from app.data.doctor.grid_rules import GRID_RULES, report_header_warnings
from app.data.doctor.image_rules import IMAGE_RULES
from app.data.doctor.label_rules import LABEL_RULES
from app.data.doctor.privacy_rules import named_after_patient
from app.data.doctor.set_label_rules import SET_LABEL_RULES
from app.data.doctor.set_rules import SET_RULES
from app.data.prepare.parallel import over_cases


@dataclass(frozen=True)
class Checked:
    """The facts of every case, and the findings by case id ("" for the data set as a whole)."""

    cases: dict[str, Examined]
    findings: dict[str, tuple[Finding, ...]]

    def count(self, severity: Severity) -> int:
        """Return the number of findings of that severity."""
        return sum(one.severity == severity for found in self.findings.values() for one in found)


def check_task(task: Task, group: GroupRule | None, *, workers: int) -> Checked:
    """Read every case of a task once, apply all rules and return the findings."""
    parts = {part.cases[0].part: part for part in task.parts}  # their label values may differ

    def look(case: Case) -> Examined:
        return examine(case, task=parts[case.part])

    cases = over_cases("Checking cases", task.cases, look, workers=workers, reading=task.reading)
    findings: dict[str, list[Finding]] = defaultdict(list)
    for case, examined in cases.items():
        findings[case] += check_case(examined, parts[examined.case.part])
    for rule in (*SET_RULES, *SET_LABEL_RULES):
        for case, finding in rule(list(cases.values()), task, group):
            findings[case].append(finding)
    return Checked(cases, {case: tuple(found) for case, found in findings.items() if found})


def check_case(examined: Examined, task: Task) -> Iterator[Finding]:
    """Yield the findings about one case by itself."""
    image, label = examined.image, examined.label
    yield from named_after_patient(examined.case)
    for kind, fault in (("image", examined.image_fault), ("label", examined.label_fault)):
        if fault:
            yield error(f"unreadable_{kind}", fault, "correct that, or fetch the file again")
    if image:
        for image_rule in IMAGE_RULES:
            yield from image_rule(image, task)
    if label:
        for label_rule in LABEL_RULES:
            yield from label_rule(label, task)
    if image and label:
        for grid_rule in GRID_RULES:
            yield from grid_rule(image.header, label.header)
    yield from report_header_warnings(examined.header_warnings)

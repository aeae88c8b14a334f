"""Rules for names that identify patients."""

from collections.abc import Iterator

from app.core.task import Case
from app.data.doctor.finding import Finding, warning
from app.io.privacy import known_as


def named_after_patient(case: Case) -> Iterator[Finding]:
    """Report a case or folder named after the name, id or date of birth in the scan's DICOM header."""
    hidden = case.hidden
    if hidden is None and not known_as({case.image: case.id}, anonymous=True)[case.image].telling:
        return
    which = f" (number {hidden.position + 1} of {hidden.dataset})" if hidden else ""
    advice = (
        f"results call it {case.id} and hide its path; task.anonymous=false shows both"
        if hidden
        else "rename it, or set task.anonymous=true: runs and reports show names and paths of cases"
    )
    yield warning(
        "named_after_patient",
        f"its file or folder{which} has the patient's name, id or date of birth, as the DICOM header has it",
        advice,
    )

"""Rules for names that identify patients."""

from collections.abc import Iterator

from app.core.task import Case
from app.data.doctor.finding import Finding, warning
from app.io.privacy import known_as


def named_after_patient(case: Case) -> Iterator[Finding]:
    """Report a case or folder named after the name, id or date of birth in the scan's DICOM header."""
    alias = known_as({case.image: case.id}, anonymous=True)[case.image]
    if alias.name != case.id or alias.shown != str(case.image):
        yield warning(
            "named_after_patient",
            "its file or folder has the patient's name, id or date of birth, as the DICOM header has it",
            "rename it: runs and reports show the names of cases and their paths",
        )

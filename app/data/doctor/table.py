"""The result of a check as rows of text: one row per case, then one for the data set as a whole."""

from pathlib import Path

from app.core.csv_file import write_csv
from app.core.types import by
from app.data.doctor.check import Checked
from app.data.doctor.examine import Examined
from app.data.doctor.finding import Finding, Severity

COLUMNS = (
    "case",
    "status",
    "voxels",
    "spacing_mm",
    "orientation",
    "range",
    "label_voxels",
    "kinds",
    "findings",
)
_SHOWN_VALUES = 8


def rows(checked: Checked) -> list[dict[str, str]]:
    """Return one row per case in the order of dataset.json, then the findings of the set, named (all)."""
    listed = [_row(one, checked.findings.get(name, ())) for name, one in checked.cases.items()]
    whole = checked.findings.get("", ())
    if whole:
        listed.append(dict.fromkeys(COLUMNS, "") | {"case": "(all)"} | _words(whole))
    return listed


def write_check(path: Path, checked: Checked) -> None:
    """Write check.csv."""
    write_csv(path, rows(checked), header=COLUMNS)


def _row(one: Examined, findings: tuple[Finding, ...]) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "") | {"case": one.case.id} | _words(findings)
    if one.image:
        header = one.image.header
        row["voxels"] = by(header.size) + (f" x{header.channels}" if header.channels > 1 else "")
        row["spacing_mm"] = " ".join(f"{mm:.4g}" for mm in header.spacing)
        row["orientation"] = header.orientation
        row["range"] = ", ".join(f"{channel.low:.5g}..{channel.high:.5g}" for channel in one.image.channels)
    if one.label:
        values = list(one.label.values.items())
        row["label_voxels"] = " ".join(f"{value:g}:{count}" for value, count in values[:_SHOWN_VALUES])
    return row


def _words(findings: tuple[Finding, ...]) -> dict[str, str]:
    worst = next((s for s in Severity if any(one.severity == s for one in findings)), None)
    return {
        "status": worst.value if worst else "ok",
        "kinds": " ".join(sorted({one.kind for one in findings})),
        "findings": " | ".join(str(one) for one in findings),
    }

"""A model card: the trained network, its data, its accuracy, its intended use and its limits.

After Mitchell et al., "Model Cards for Model Reporting", 2019, with the items that CLAIM 2024 and TRIPOD+AI
ask for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.metrics.metric import METRICS
from app.metrics.statistics import describe_all, presence
from app.report.page.scores import method_note
from app.report.read.runs import Run
from app.report.wording import DASH, decimals, duration, interval_text, measured, plain_text, scaled, whole

_DICE, _HD95 = METRICS[:2]
_FEW_GROUPS = 50
_RESEARCH = (
    "Research on scans similar to the training data, if a person checks every label "
    "map. This is not a medical device; do not use it for diagnosis or treatment."
)
_UNSTATED = "Nothing else was stated; set report.{} to add text."


@dataclass(frozen=True)
class Section:
    """A heading with facts by name."""

    title: str
    rows: tuple[tuple[str, str], ...]


def model_card(run: Run, words: Mapping[str, str | None] | None = None) -> tuple[Section, ...]:
    """Return the card of a run; `words` (intended_use, limits) override those in the run's configuration."""
    stored = (run.config or {}).get("report") or {}
    said = {name: (words or {}).get(name) or stored.get(name) for name in ("intended_use", "limits")}
    return (
        Section("Model", _model(run)),
        Section("Intended use", _intended(said["intended_use"])),
        Section("Data", _data(run)),
        Section("Accuracy on held-out cases", _accuracy(run)),
        *((Section("Accuracy on the test set", tested),) if (tested := _tested(run)) else ()),
        Section("Limits", _limits(run, said["limits"])),
        Section("Cost", _cost(run)),
    )


def as_markdown(title: str, card: tuple[Section, ...]) -> str:
    """Return the card as a text file."""
    lines = [f"# Model card: {title}", ""]
    for section in card:
        lines += [f"## {section.title}", ""]
        lines += [f"- **{name}**: {' '.join(text.split())}" for name, text in section.rows]
        lines.append("")
    return "\n".join(lines)


def _model(run: Run) -> tuple[tuple[str, str], ...]:
    of, made = run.summary, run.environment or {}
    version, git, torch = (plain_text(made.get(key)) for key in ("version", "git", "torch"))
    return (
        ("Task", of.task or DASH),
        ("Labels", ", ".join(run.labels()) or DASH),
        ("Network", f"{of.model or DASH}, operator {of.op or DASH}, {scaled(of.params)} parameters"),
        ("Input", f"{_planned(run, 'spacing')} mm voxels (D, H, W), patches of {plain_text(of.patch)}"),
        ("Made by", f"{version}, git {git}, torch {torch}"),
        *(
            (("Initial weights", str(init)),)
            if (init := (run.config or {}).get("train", {}).get("init"))
            else ()
        ),
        (
            "Trained",
            f"{str(made.get('started', DASH))[:10]}, seed {of.seed or DASH}, {whole(of.steps)} steps",
        ),
    )


def _intended(said: str | None) -> tuple[tuple[str, str], ...]:
    return (("Use", said or _RESEARCH), *(() if said else (("Note", _UNSTATED.format("intended_use")),)))


def _data(run: Run) -> tuple[tuple[str, str], ...]:
    split, made, found = run.split or {}, run.environment or {}, run.fingerprint or {}
    groups = split.get("groups") or {}
    rows = [
        ("Data set", f"{run.data_set or DASH}, SHA-256 {plain_text(made.get('data_hash'))[:12]}"),
        (
            "Median scan",
            f"{plain_text(found.get('median_size'))} voxels of {_rounded(found.get('median_spacing'))} mm",
        ),
    ]
    for part, name in (("train", "Training"), ("validation", "Held out"), ("test", "Test")):
        if isinstance(cases := split.get(part), list):
            units = len({groups.get(case, case) for case in cases})
            rows.append((name, f"{len(cases)} cases of {units} groups (patients)"))
    rows.append(("Split", _split(run.config or {})))
    return tuple(rows)


def _split(config: Mapping[str, Any]) -> str:
    """Return how cases were split, according to the run's configuration."""
    chosen = config.get("split") or {}
    fold, folds, seed = (plain_text(config.get(name)) for name in ("fold", "folds", "split_seed"))
    if fold in ("none", plain_text(None)):
        return "all cases are training cases; none is held out"
    if chosen.get("file"):
        return f"from {chosen['file']}, fold {fold}"
    if chosen.get("rule") == "nnunet":
        return f"fold {fold} of {folds} of nnU-Net, which can separate cases of one group"
    how = "drawn by groups, spread by labels and sizes," if chosen.get("stratify") else "drawn by groups"
    return f"fold {fold} of {folds}, {how} with seed {seed}"


def _tested(run: Run) -> tuple[tuple[str, str], ...]:
    """Return the Dice on the test set, if the run has one."""
    return tuple((label, f"Dice {measured(_DICE, value)}") for label, value in run.summary.test_dice.items())


def _accuracy(run: Run) -> tuple[tuple[str, str], ...]:
    described, rows = describe_all(run.scores or ()), []
    for label in run.labels():
        found = {name: by_label.get(label) for name, by_label in described.items()}
        dice, hd95 = found.get("dice"), found.get("hd95_mm")
        if dice is not None:
            there = presence([score for score in run.scores or () if score.label == label])
            median = None if hd95 is None else hd95.median
            words = (
                f"Dice {measured(_DICE, dice.mean)} (95 % interval {interval_text(_DICE, dice.interval)}, "
                f"n = {dice.n})",
                f"median {measured(_DICE, dice.median)}, worst {measured(_DICE, dice.worst)}",
                f"median HD95 {measured(_HD95, median)} mm",
                f"missed in {len(there.missed)} of {there.reference} cases",
                f"false alarms in {len(there.false_alarms)} of {there.without} cases without it",
            )
            rows.append((label, "; ".join(words if there.without else words[:-1])))
    if not rows:
        return (("Held-out cases", "no case was scored"),)
    note = method_note(run)
    return (*rows, *((("Intervals", note),) if note else ()))


def _limits(run: Run, said: str | None) -> tuple[tuple[str, str], ...]:
    split = run.split or {}
    held_out = split.get("validation") or []
    groups = {(split.get("groups") or {}).get(case, case) for case in held_out}
    scores = run.scores or ()
    rows = [("Stated", said)] if said else []
    if not split.get("test"):
        rows.append(
            (
                "No test set",
                "Cases are held out from the same data set, not from another hospital or scanner.",
            )
        )
    if 0 < len(groups) < _FEW_GROUPS:
        rows.append(("Few patients", f"{len(groups)} groups were held out; see the intervals."))
    missed = sorted({score.label for score in scores if score.status == "missed"})
    if missed:
        rows.append(
            ("Misses", f"{', '.join(missed)}: missing in a prediction although the reference has it.")
        )
    never = [
        label
        for label in run.labels()
        if scores and not any(score.reference_mm3 > 0 for score in scores if score.label == label)
    ]
    if never:
        rows.append(("Never judged", f"{', '.join(never)}: no held-out reference has it."))
    rows.append(
        (
            "Scans",
            f"Only scanners and protocols of the data set "
            f"were tested; scans should have voxels of about "
            f"{_rounded((run.fingerprint or {}).get('median_spacing'))} mm.",
        )
    )
    if not said:
        rows.append(("Note", _UNSTATED.format("limits")))
    return tuple(rows)


def _cost(run: Run) -> tuple[tuple[str, str], ...]:
    of, made = run.summary, run.environment or {}
    times = run.timing
    forward = () if times.forward_ms is None else (("A patch", f"{decimals(times.forward_ms, 1)} ms"),)
    return (
        ("Training", f"{duration(of.train_seconds)} on {plain_text(made.get('processor'))}"),
        ("Multiply-adds per patch", scaled(of.macs_per_patch)),
        ("Peak memory of the process", f"{whole(of.peak_rss_mb)} MB"),
        *forward,
    )


def _planned(run: Run, name: str) -> str:
    item = (run.plan or {}).get(name)
    return _rounded(item.get("value") if isinstance(item, dict) else item)


def _rounded(values: object) -> str:
    if not isinstance(values, list | tuple):
        return DASH
    return " x ".join(f"{float(value):.3g}" for value in values)

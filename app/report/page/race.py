"""The part of the page about a race of networks: what it took, how far its judge can be trusted, who won."""

from app.report.page.tables import Table
from app.report.read.runs import Run
from app.report.wording import DASH, decimals, duration, scaled, whole


def race(run: Run) -> list[Table]:
    """Return a table of figures and one of finalists; nothing for a run that is not a race."""
    found = run.summary.race
    if found is None:
        return []
    rounds = zip(found.get("networks", ()), found.get("steps", ()), strict=False)
    agreement = found.get("spearman")
    rows = [
        ("Time of the whole race", duration(run.summary.search_seconds)),
        ("Part of it to draw and judge networks", duration(run.summary.decode_seconds)),
        ("Networks that raced", whole(found.get("contestants"))),
        ("Trainings, round by round", ", ".join(f"{n} of {steps} steps" for n, steps in rounds) or DASH),
        ("Spearman correlation of estimates with later losses", decimals(agreement, 2)),
        ("Lead of the best challenger's estimate over the planned network, and its error", _lead(found)),
        ("Winner", _name(found.get("winner"))),
        ("Its parameters", whole(run.summary.params)),
        ("Its MACs per patch", scaled(run.summary.macs_per_patch)),
    ]
    return [Table("The race", ("Race", "Value"), rows, wordy=(1,)), _finalists(found)]


def _finalists(found: dict[str, list[float]]) -> Table:
    losses, again = found.get("finalists", []), found.get("finalists_again", [])
    numbers = found.get("numbers", [None] * len(losses))
    rows = [
        (_name(number), decimals(loss, 4), decimals(other, 4))
        for number, loss, other in zip(numbers, losses, again, strict=False)
    ]
    return Table("Finalists, best estimate first", ("Finalist", "Loss", "Loss with another seed"), rows)


def _lead(found: dict[str, float | None]) -> str:
    lead = found.get("lead")
    return DASH if lead is None else f"{decimals(lead, 2)} ± {decimals(found.get('lead_error'), 2)}"


def _name(number: float | None) -> str:
    return DASH if number is None else f"network {number:.0f}"

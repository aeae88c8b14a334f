"""The jobs of a sweep: all combinations of each line's overrides, with names that tell jobs apart."""

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from app.cli.config.command_settings import ALL_FOLDS
from app.cli.config.paths import readable, readable_word
from app.cli.config.run_config import PLACES
from app.core.digest import digest_of_bytes
from app.core.errors import InputError

_REPEATED = ("seed", "fold")
_REFERENCE = re.compile(r"(?<![\w.])@([A-Za-z][\w-]*)")
_LONGEST = 32  # most characters of a value in a name


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    `choices` maps the keys of overrides to values; `swept` are the keys with several values in its line. A
    value `@<line>/<file>` is a file of a job of another line (see `target`).
    """

    line: str
    choices: Mapping[str, str]
    swept: tuple[str, ...]

    @property
    def name(self) -> str:
        """The job's folder below the sweep's, such as `dense+seed-0`."""
        return _name(self.line, self.choices, self.swept)

    @property
    def group(self) -> str:
        """The name shared by jobs that differ only in seed or fold."""
        return _name(self.line, self.choices, [key for key in self.swept if key not in _REPEATED])

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides as on a command line."""
        return tuple(f"{key}={value}" for key, value in self.choices.items())

    @property
    def described(self) -> tuple[str, ...]:
        """The overrides that determine the result."""
        return tuple(f"{key}={value}" for key, value in self.choices.items() if not is_place(key))

    @property
    def references(self) -> tuple[str, ...]:
        """The lines that its values refer to."""
        found = (name for value in self.choices.values() for name in _REFERENCE.findall(value))
        return tuple(dict.fromkeys(found))

    def target(self, line: str, jobs: Sequence["Job"]) -> "Job":
        """Return the only job of `line` that agrees with this job in its swept choices.

        Raises:
            InputError: there is none, or more than one.
        """
        fitting = [job for job in jobs if job.line == line and self._agrees(job)]
        if len(fitting) != 1:
            found = ", ".join(job.name for job in fitting) or "none"
            raise InputError(f"sweep.jobs: {self.name}: @{line}: got {found}, wanted exactly one job")
        return fitting[0]

    def _agrees(self, other: "Job") -> bool:
        return all(
            self.choices.get(key, value) == value
            for key, value in other.choices.items()
            if key in other.swept
        )

    def resolved(self, folders: Mapping[str, str]) -> tuple[str, ...]:
        """Return the overrides with `@<line>` replaced by the folder of the job it refers to."""
        words = (
            f"{key}={_REFERENCE.sub(lambda match: folders[match.group(1)], value)}"
            for key, value in self.choices.items()
        )
        return tuple(map(readable_word, words))


def plan_jobs(lines: Mapping[str, str], command: Sequence[str]) -> list[Job]:
    """Return the combinations of each line, in order; overrides of the command line replace the lines'.

    Raises:
        InputError: an override cannot be parsed, two jobs have one name, or a reference has no job.
    """
    parsed = parse(command, "command line")
    typed = {key: value for key, value in parsed.items() if not key.lstrip("+").startswith("sweep.")}
    jobs = [job for line, text in lines.items() for job in _multiply(line, text, typed)]
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"sweep.jobs: got {names.count(name)} jobs called {name}, wanted different names"
            )
    for number, job in enumerate(jobs):
        for line in job.references:
            job.target(line, jobs[:number])
    return jobs


def with_references(chosen: Iterable[Job], jobs: Sequence[Job]) -> list[Job]:
    """Return the chosen jobs and those that they refer to, in the order of all jobs."""
    names = {job.name for job in chosen}
    for job in reversed(jobs):  # a job comes after those that it refers to
        if job.name in names:
            names.update(job.target(line, jobs).name for line in job.references)
    return [job for job in jobs if job.name in names]


def parse(overrides: Sequence[str], where: str) -> dict[str, Override]:
    """Return overrides by key; if a key occurs twice, the last one counts.

    Raises:
        InputError: an override does not have the form key=value.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise InputError(f"{where}: {' '.join(str(error).split())}") from None
    return {str(override.get_key_element()): override for override in parsed}


def choices(command: Sequence[str]) -> dict[str, str]:
    """Return overrides without sweeps, by key.

    Raises:
        InputError: one of them has several values.
    """
    found = {key: _values(override) for key, override in parse(command, "command line").items()}
    for key, values in found.items():
        if len(values) > 1:
            raise InputError(f"{key}: got {len(values)} values, wanted one; vary keys with tune.space")
    return {key: values[0] for key, values in found.items()}


def with_all_folds(overrides: str, folds: Iterable[int]) -> str:
    """Return a line of overrides with `fold=all` replaced by all folds."""
    return re.sub(rf"(?<!\S){ALL_FOLDS}(?!\S)", f"fold={','.join(map(str, folds))}", overrides)


def sweep_name(lines: Mapping[str, str], command: Sequence[str], chosen: str | None) -> str:
    """Return the chosen name or the swept keys, and a digest of other overrides that change results."""
    typed = {key: value for key, value in parse(command, "command line").items() if not is_place(key)}
    swept = [key for key, override in typed.items() if override.is_sweep_override()]
    fixed = {key: _values(override) for key, override in typed.items() if key not in swept and key != "task"}
    name = chosen or "+".join(_label(key) for key in swept) or "+".join(lines) or "run"
    return f"{name}-{_digest(sorted(fixed.items()))}" if fixed else name


def _multiply(line: str, text: str, typed: Mapping[str, Override]) -> Iterator[Job]:
    merged = parse(readable(shlex.split(text), several=True), f"sweep.jobs.{line}") | dict(typed)
    values = {key: _values(override) for key, override in merged.items()}
    swept = tuple(key for key, options in values.items() if len(options) > 1)
    for combination in itertools.product(*values.values()):
        yield Job(line, dict(zip(values, combination, strict=True)), swept)


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise InputError(f"{override.input_line}: a sweep needs separate values; intervals are for mode=tune")
    return list(override.sweep_string_iterator())


def _name(line: str, choices: Mapping[str, str], keys: Sequence[str]) -> str:
    parts = [f"{_label(key)}-{_short(choices[key])}" for key in keys]
    return "+".join([line, *parts] if line else parts) or "run"


def _label(key: str) -> str:
    return re.sub(r"\W+", "_", key.lstrip("+~").rpartition(".")[2])


def _short(value: str) -> str:
    """Return characters that need no quotes; a long value is cut and ends with a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", value).strip("_")
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}-{_digest(value)}"


def is_place(key: str) -> bool:
    """Return whether an override changes where and how fast a job runs, but not its results."""
    return re.split("[./]", key.lstrip("+~"))[0] in PLACES


def _digest(value: object) -> str:
    return digest_of_bytes([repr(value).encode()])[:6]

"""The documentation: commands run page by page on small volumes, links, the built site, generated parts."""

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import app
from app import __version__, api
from app.core.csv_file import read_csv
from app.core.task import GroupRule
from tests.benchmarks import by_case

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINKED = ("app", "conf", "run.py")
SMALL = (
    *("train=smoke", "sliding=fast", "augment=none", "threads=1", "search.trials=8"),
    *("plan.patch=[16,16,16]", "plan.base_width=4", "plan.max_levels=2"),
)
SHORT = ("train.steps=4", "train.epoch_steps=2")
PHANTOM = ("task.phantom.cases=10", "task.phantom.size=[20,24,24]", "task.phantom.spacing=[4,3,3]")
REAL = {"Task04_Hippocampus": "Task00_Phantom", "hippocampus_001": "phantom_001"}
BLOCK = re.compile(r"^```(bash|python)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OUTDATED = re.compile(
    r"\b(but\s+for|mend(s|ed|ing)?|anew|go(es|ing)?\s+on|(told|said|shown)\s+of|dear(er|est)?|nobody"
    r"|less\s+(dense|base)|lest|whom|cannot be meant|without a word"
    r"|(row|file|page|patch|patches) an? (case|fold|job|run|label|question|step))\b"
    r"|, say[,.;]",
    re.IGNORECASE,
)
"""Forms of words that readers stumble over; each has a plain one."""
MEASURED = {
    "presets": "Dice parameters GMAC steps",
    "kernels_hippocampus": "Dice difference runs parameters GMAC forward step",
    "race_hippocampus": "Dice difference runs parameters GMAC forward step",
    "operators_hippocampus": "Dice difference runs parameters GMAC forward step",
    "operators_sarcoma": "Dice difference runs parameters GMAC forward step",
    "fields_hippocampus": "Dice difference runs parameters GMAC forward step",
    "peers_sarcoma": "Dice parameters GMAC forward step steps",
    "compress_hippocampus": "Dice",
    "planted": "Dice",
    "recipe_hippocampus": "Dice difference steps parameters GMAC",
    "recipe_hippocampus_two_cores": "Dice difference steps parameters GMAC",
    "fine_tuning_acdc": "Dice",
    "optimizers": "Dice",
    "partial_labels_hippocampus": "Dice",
}
"""Columns of `docs/scripts/tables.py` that the pages show, by file in docs/results."""
IN_TEXT = {("compress_hippocampus", "dense"), ("planted", "equal_1d")}
"""Groups that no table shows."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like that of the project, for what the commands leave behind."""
    folder = tmp_path_factory.mktemp("project")
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_run(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    whole = page.read_text(encoding="utf-8")
    for real, generated in REAL.items():
        whole = whole.replace(real, generated)
    for language, needs, text in BLOCK.findall(whole):
        for module in needs.split():
            pytest.importorskip(module)
        for command in [text] if language == "python" else text.splitlines():
            assert run(language, command, monkeypatch) == 0, command


def run(language: str, command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of a page's command; Python code raises its own errors."""
    if language == "python":
        monkeypatch.setattr(app, "run", lambda *words: api.run(*small(list(words))), raising=False)
        exec(compile(command, "<page>", "exec"), {"__name__": "__page__"})
        return 0
    if command.startswith("python run.py"):
        monkeypatch.setattr(sys, "argv", ["run.py", *small(shlex.split(command)[2:])])
        return exit_code()
    words = ["bash", "-c", command]
    if command.startswith("torchrun"):
        before, _, after = command.partition(" run.py ")
        torchrun = [sys.executable, "-m", "torch.distributed.run", *before.split()[1:]]
        words = [*torchrun, "run.py", *small(shlex.split(after))]
    return subprocess.run(words, check=False, timeout=1800).returncode


def exit_code() -> int:
    try:
        runpy.run_path("run.py", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def small(words: list[str]) -> list[str]:
    """The command on generated volumes of few voxels and for a few steps; else what it says itself wins."""
    flags = list(takewhile(lambda word: "=" not in word, words))
    ours = [re.sub(r"^task=(hippocampus|sarcoma)$", "task=phantom", word) for word in words[len(flags) :]]
    if not ours or re.match(r"train\.resume=(?!auto)", ours[0]):
        return words
    ours = [word for word in ours if word != "task.download=true"]
    generated = () if "task=decathlon" in ours else PHANTOM
    one = ("seed=0",) if any(word.startswith("sweep=") for word in ours) else ()
    return [*flags, *SMALL, *generated, *one, *ours, *SHORT]


EXAMPLES = (
    *(
        "split.file",
        "split.test",
        "split.exclude",
        "split.stratify",
        "split=nnunet",
        "fold=none",
        "task.folder=[",
    ),
    *(
        "task.labels",
        "task.ignore",
        "task.dataset",
        "annotated",
        "train.init",
        "train.freeze",
        "train.layer_decay",
    ),
    *("task.folder=data/Task00_Moved", "loss.class_weights", "predict.channels=suffix"),
    *("train.resume=auto", "check.add", "check.scans", "check.repair", "channel_names", "track=wandb"),
    "--max-restarts",
)
"""Options of trainings and data sets, each of which a command or code of a page shows."""


def test_options_have_an_example_that_runs() -> None:
    blocks = [text for page in PAGES for _, _, text in BLOCK.findall(page.read_text(encoding="utf-8"))]
    assert not [name for name in EXAMPLES if not any(name in text for text in blocks)]


def documents() -> Iterator[Path]:
    yield from (*PAGES, ROOT / "README.md", ROOT / "ARCHITECTURE.md")


def test_texts_have_no_outdated_forms() -> None:
    others = [ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *(ROOT / "conf").rglob("*.yaml")]
    found = [(path, OUTDATED.search(path.read_text(encoding="utf-8"))) for path in (*documents(), *others)]
    assert not [(str(path), match[0]) for path, match in found if match]


def test_the_code_has_no_outdated_forms() -> None:
    """Docstrings, comments and messages, also of tests and scripts; no docstring begins with "Of"."""
    files = [path for kind in ("*.py", "*.html", "view.js") for path in (ROOT / "app").rglob(kind)]
    others = [path for folder in ("tests", "docs/scripts") for path in (ROOT / folder).rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in (*files, *others) if path != Path(__file__)}
    texts[ROOT / "CHANGELOG.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = [(path, match[0]) for path, text in texts.items() for match in OUTDATED.finditer(text)]
    assert not found
    assert not [path for path, text in texts.items() if re.search(r'^\s*"""Of\b', text, re.MULTILINE)]


def test_links_lead_somewhere() -> None:
    for page in documents():
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} == {*re.findall(r"\]\((\S+?\.md)\)", index), "README.md"} - {
        "../ARCHITECTURE.md"
    }


def test_the_options_page_is_what_its_script_writes() -> None:
    command = [sys.executable, "docs/scripts/options.py", "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0, (
        "run python docs/scripts/options.py"
    )


def test_the_options_page_has_every_group_and_section() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"settings", "hydra"}
    sections = {path.stem for path in (ROOT / "conf" / "settings").glob("*.yaml")} - {"hydra"}
    assert groups | sections <= {*re.findall(r"^### `(.+)`$", page, re.MULTILINE)}
    for group in groups - {"paths", "plan", "search"}:
        for option in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"| `{group}={option.stem}` |" in page, option


def test_the_options_page_explains_every_key() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    without = re.findall(r"^\| `([\w.]+)` \| .* \|  \|$", page, re.MULTILINE)
    assert [key for key in without if not key.startswith("tune.space.")] == []  # its key explains examples


def test_the_site_lists_every_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {*re.findall(r"^      - .+: (\S+\.md)$", site, re.MULTILINE)} == {page.name for page in PAGES}


@pytest.mark.e2e
def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra docs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, timeout=300)
    for page in PAGES:
        html = tmp_path / ("index.html" if page.stem == "README" else f"{page.stem}.html")
        for link in re.findall(r'(?:href|src)="([^"#?]+)', html.read_text(encoding="utf-8")):
            assert "://" in link or (tmp_path / unquote(link)).exists(), f"{page.name}: {link}"


def test_readme_is_short_and_its_first_two_commands_are_complete() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    first, second = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    setup = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && "
    assert first == f"{setup}python run.py\n"
    assert (
        second.removeprefix(setup)
        == (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] + "\n"
    )


def test_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all({"title", "authors", "year", "notes"} <= set(source) for source in cited["references"])


@pytest.mark.parametrize("name", MEASURED)
def test_tables_show_the_figures_of_their_files(name: str) -> None:
    rows = runpy.run_path(str(ROOT / "docs" / "scripts" / "tables.py"))["table"](
        ROOT / "docs" / "results" / f"{name}.csv"
    )
    pages = [ROOT / "docs" / page for page in ("results.md", "recipe.md", "fine-tuning.md", "own-data.md")]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    shown = [line.replace("*", "") for line in lines if line.startswith("|")]
    columns = ["group", "Dice", "difference", "runs", "parameters", "GMAC", "forward", "step", "steps"]
    rows = [row for row in rows if (name, row[0]) not in IN_TEXT]
    assert rows
    for row in rows:
        wanted = [cell for column, cell in zip(columns, row, strict=True) if column in MEASURED[name].split()]
        assert any(all(cell in line for cell in wanted) for line in shown), (name, row)


def test_the_table_against_nnunet_is_that_of_its_cases() -> None:
    rows = read_csv(ROOT / "docs" / "results" / "cases_hippocampus.csv", columns=by_case.COLUMNS)
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").replace("`", "")
    for line in by_case.table(rows, "nnU-Net", GroupRule(by_case.PATTERN, 2)).splitlines():
        assert line in page

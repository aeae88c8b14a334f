"""The direction of imports, and that Hydra stays at the door."""

import ast
from pathlib import Path

import pytest

ALLOWED = {
    "core": set(),
    "ops": {"core"},
    "data": {"core"},
    "metrics": {"core"},
    "report": {"core"},
    "track": {"core", "report"},
    "models": {"core", "ops"},
    "infer": {"core", "ops", "data", "metrics", "models"},
    "train": {"core", "ops", "data", "metrics", "models", "infer"},
    "search": {"core", "ops", "models", "train"},
    "analyze": {"core", "ops", "models"},
    "compress": {"core", "ops", "models"},
    "cli": {
        *("core", "ops", "data", "metrics", "models", "infer", "train", "report"),
        *("search", "analyze", "compress", "track"),
    },
}
FILES = sorted(Path("app").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def test_every_package_has_its_place() -> None:
    assert {path.name for path in Path("app").iterdir() if path.is_dir() and path.name[0] != "_"} == set(
        ALLOWED
    )


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path: Path) -> None:
    package = path.parts[1]
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("app.")}
    assert ours <= ALLOWED.get(package, set()) | {package}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_hydra_stays_in_the_command_line(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    assert path.parts[1] == "cli" or not roots & {"hydra", "omegaconf"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def loaded_by(module: str) -> set[str]:
    """Every module that importing one of ours imports at once; what functions import later is left out."""
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        paths = [Path(*name.split("."), "__init__.py"), Path(*name.split(".")).with_suffix(".py")]
        if name in seen:
            continue
        seen.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        for node in [node for path in paths if path.is_file() for node in parsed(path).body]:
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
    return seen


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_prediction_starts_without_what_training_and_reports_need() -> None:
    roots = {name.split(".")[0] for name in loaded_by("app.cli.modes.predict")}
    assert {"torch", "nibabel"} <= roots and not roots & {"monai", "matplotlib", "optuna", "onnxruntime"}

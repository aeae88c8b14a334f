"""The table of ARCHITECTURE.md holds: folders, the direction of imports, and where Hydra is."""

import ast
import re
from pathlib import Path

TABLE = re.findall(r"^\| `([\w/]+)` \|", Path("ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
FILES = sorted(path for path in Path("app").rglob("*.py") if len(path.parts) > 2)  # those in a folder


def folder(path: Path) -> str:
    """The row of the table a file belongs to; a folder of plugins counts as its parent."""
    parts = path.parent.parts[1:]
    return "/".join(parts[:2] if "plugins" in parts else parts)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def home(name: str) -> str | None:
    """The folder of one of our modules, by the dotted name of the module or of something in it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length])
        if path.with_suffix(".py").is_file():
            return "/".join(path.parts[1:-1])
        if (path / "__init__.py").is_file():
            return "/".join(path.parts[1:])
    return None


def test_the_table_has_one_row_per_folder_and_tests_mirror_the_folders() -> None:
    found = {folder(path) for path in FILES if path.name != "__init__.py"}
    assert found == set(TABLE) and len(TABLE) == len(set(TABLE))
    for path in Path("tests").rglob("test_*.py"):  # those directly in tests/ are about the whole
        inside, tested = path.parts[1:-1], path.name.removeprefix("test_")
        if inside and inside[0] != "benchmarks":
            assert Path("app", *inside, tested).is_file() or tested == f"{inside[-1]}.py", path


def test_imports_point_to_folders_above_in_the_table_and_hydra_stays_in_the_command_line() -> None:
    wrong = []
    for path in sorted(Path("app").rglob("*.py")):
        own, names = folder(path), imported(path)
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path}: no docstring"
        if own in TABLE:
            above = TABLE[: TABLE.index(own) + 1]
            homes = {name: home(name) for name in names if name.split(".")[0] == "app"}
            wrong += [f"{path}: {name}" for name, place in homes.items() if place and place not in above]
        at_the_door = path.parts[1] == "cli" or path == Path("app/api.py")
        if not at_the_door and {name.split(".")[0] for name in names} & {"hydra", "omegaconf"}:
            wrong.append(f"{path}: Hydra")
    assert not wrong


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


def test_nothing_of_one_system_alone_is_imported_at_the_top() -> None:
    alone = {"fcntl", "grp", "msvcrt", "posix", "pty", "pwd", "resource", "termios", "tty", "winreg"}
    for path in [*Path("app").rglob("*.py"), *Path("tests").rglob("*.py")]:
        names = (
            alias.name for node in parsed(path).body if isinstance(node, ast.Import) for alias in node.names
        )
        assert not alone & {*names}, path


def test_help_starts_without_what_computes() -> None:
    roots = {name.split(".")[0] for name in loaded_by("app.cli.shell.command_line")}
    assert "hydra" in roots and not roots & {"torch", "numpy", "monai", "psutil", "matplotlib"}


def test_a_prediction_starts_without_what_training_and_reports_need() -> None:
    roots = {name.split(".")[0] for name in loaded_by("app.cli.modes.predict")}
    assert {"torch", "nibabel"} <= roots and not roots & {"monai", "matplotlib", "optuna", "onnxruntime"}

"""A folder of scans segmented by this application, by nnU-Net v2 and with MONAI: seconds and memory, in turn.

python -m tests.benchmarks.side_by_side --nnunet-python <venv>/bin/python
python -m tests.benchmarks.side_by_side --nnunet-python ... --size 128 160 128 --scans 3 --repeats 1
Every method is a command, timed from its start to the last label map written, on the same generated scans. An
environment with nnunetv2 (`pip install nnunetv2`) and an idle machine are needed; all methods use all cores.

- ours: mode=predict as it is, for each engine named. The network is that of a run, or of the layout of
  conf/op/layouts/hippocampus_macs20.yaml after one training step: its time does not depend on its weights.
- nnU-Net: nnUNetv2_predict_from_modelfolder as it is, with its default network for its own plan of the scans.
- MONAI: SlidingWindowInferer and DynUNet of nnU-Net's plan, as in tests.benchmarks.monai_predict.

Mirrored is what each mirrors by default (nnU-Net three axes, ours those that training flipped, in turn where
windows overlap, MONAI none), and nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from rich.console import Console
from rich.table import Table

from app.core.csv_file import read_csv, write_csv
from app.data.sets.phantom import PhantomSettings, generate_phantom
from tests.benchmarks.processes import Spent, spend

LAYOUT = "conf/op/layouts/hippocampus_macs20.yaml"
_NNUNET_PREDICT = (
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as p; p()"
)
_VERSIONS = (
    "from importlib.metadata import version; from importlib.util import find_spec; "
    "from app import __version__; "
    "print(', '.join([f'app {__version__}', *(f'{n} {version(n)}' for n in %r if find_spec(n))]))"
)
_MACHINE = (
    "import torch; from app.train.machine.environment import machine; facts = machine(torch.device('cpu')); "
    "print(f\"{facts['processor']}, {facts['threads']} threads\")"
)
_PACKAGES = ("torch", "monai", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Method:
    """A way to segment a folder of scans: `command` gives it from the scans' and the label maps' folders."""

    name: str
    mirrors: bool
    command: Callable[[Path, Path], list[str]]

    @property
    def title(self) -> str:
        """The name, and whether it mirrors."""
        return f"{self.name}{', mirrored' * self.mirrors}"


@dataclass(frozen=True)
class Row:
    """A method and what it took, once a repeat."""

    method: Method
    spent: list[Spent]

    @property
    def seconds(self) -> float:
        """Median."""
        return median(once.seconds for once in self.spent)

    @property
    def together_mb(self) -> float:
        """Median of the most memory of all processes at once."""
        return median(once.together for once in self.spent) / 1e6

    @property
    def largest_mb(self) -> float:
        """Median of the most memory of any one process."""
        return median(once.largest for once in self.spent) / 1e6


def main() -> None:
    """Make scans and models, run all methods in turn, print the table."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = write_scans(folder, options.size, options.scans)
        ours = options.run or make_run(folder, options.network, options.scans)
        nnunet = make_nnunet(options.nnunet_python, folder)
        engines = options.engines or _installed_engines()
        methods = [
            *our_methods(ours, engines),
            *nnunet_methods(options.nnunet_python, folder / "nnunet" / "model"),
            monai_method(folder / "nnunet" / "model" / "plans.json", labels),
        ]
        methods = [method for method in methods if method.title not in options.leave_out]
        for method in methods:  # first use: ours exports the network for an engine and keeps that
            segment(method, folder / "first", folder / "out")
        rows = [Row(method, []) for method in methods]
        for _ in range(options.repeats):
            for row in rows:
                row.spent.append(segment(row.method, folder / "scans", folder / "out"))
    versions = f"{_ask(sys.executable, _VERSIONS % (_PACKAGES,))}; nnU-Net: {nnunet['versions']}"
    show(rows, options, nnunet, versions)
    if options.csv:
        write_rows(options.csv, rows, options, versions)


def segment(method: Method, scans: Path, output: Path) -> Spent:
    """Run a method once, into a folder that is gone afterwards."""
    spent = spend(method.command(scans, output))
    print(f"{method.title}: {spent.seconds:.1f} s", file=sys.stderr)
    wanted, written = (len(list(folder.glob("*.nii.gz"))) for folder in (scans, output))
    if written != wanted:
        raise RuntimeError(f"{method.name} wrote {written} label maps of {wanted} scans")
    shutil.rmtree(output)
    return spent


def our_methods(run: Path, engines: Sequence[str]) -> list[Method]:
    """mode=predict by every engine, with what it mirrors by default and with nothing mirrored."""

    def method(engine: str, mirrors: bool) -> Method:
        def command(scans: Path, output: Path) -> list[str]:
            places = [f"predict.model={run}", f"predict.input={scans}", f"predict.output={output}"]
            off = [] if mirrors else ["sliding.mirror_axes=[]"]
            return [sys.executable, "run.py", "mode=predict", f"predict.engine={engine}", *places, *off]

        return Method(f"ours, {engine}", mirrors, command)

    return [method(engine, mirrors) for engine in engines for mirrors in (True, False)]


def nnunet_methods(python: str, model: Path) -> list[Method]:
    """nnU-Net's predictor at its defaults, and without mirroring."""

    def method(mirrors: bool) -> Method:
        def command(scans: Path, output: Path) -> list[str]:
            places = ["-i", str(scans), "-o", str(output), "-m", str(model), "-f", "0"]
            off = [] if mirrors else ["--disable_tta"]
            return [python, "-c", _NNUNET_PREDICT, *places, "-device", "cpu", *off]

        return Method("nnU-Net v2", mirrors, command)

    return [method(True), method(False)]


def monai_method(plans: Path, labels: int) -> Method:
    """MONAI's inferer, which mirrors nothing."""

    def command(scans: Path, output: Path) -> list[str]:
        module = "tests.benchmarks.monai_predict"
        return [sys.executable, "-m", module, str(plans), str(labels), str(scans), str(output)]

    return Method("MONAI", False, command)


def write_scans(folder: Path, size: Sequence[int], count: int) -> int:
    """A labelled data set in `data`, its scans as `scans/<case>_0000.nii.gz` and one in `first`.

    All lie axis-parallel in voxels of 1 mm, so that no program has to resample. Returns the number of labels.
    """
    depth, height, width = size
    settings = PhantomSettings(cases=count, seed=0, size=(depth, height, width), spacing=(1.0, 1.0, 1.0))
    generate_phantom(folder / "data", settings=settings)
    for path in sorted((folder / "data").glob("*Tr/*.nii.gz")):
        turned = nib.as_closest_canonical(nib.load(path))
        nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), np.eye(4)), path)
    for name, cases in (("scans", count), ("first", 1)):
        (folder / name).mkdir()
        for path in sorted((folder / "data" / "imagesTr").iterdir())[:cases]:
            shutil.copy(path, folder / name / path.name.replace(".nii.gz", "_0000.nii.gz"))
    facts = json.loads((folder / "data" / "dataset.json").read_text(encoding="utf-8"))
    return len(facts["labels"])


def make_run(folder: Path, network: Sequence[str], count: int) -> Path:
    """A run folder of one training step."""
    places = [
        f"task.folder={folder / 'data'}",
        f"paths.cache={folder / 'cache'}",
        f"paths.run={folder / 'run'}",
    ]
    limits = ["train.steps=1", f"folds={min(5, count)}", "train.validation_cases=1", "log=quiet"]
    spend([sys.executable, "run.py", "task=decathlon", *network, *places, *limits])
    return folder / "run"


def make_nnunet(python: str, folder: Path) -> dict[str, str]:
    """nnU-Net's plan and network in `nnunet/model`; what they are."""
    script = str(Path(__file__).with_name("nnunet_model.py"))
    command = [python, script, str(folder / "data"), str(folder / "nnunet")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    facts: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def show(rows: Sequence[Row], options: argparse.Namespace, nnunet: dict[str, str], versions: str) -> None:
    """The table, ours against others of the same mirroring."""
    title = f"{options.scans} scans of about {'x'.join(map(str, options.size))} voxels"
    table = Table("", "mirrored", "s", "from - to", "MB", "MB, largest process", "against", title=title)
    for row in rows:
        seconds = [once.seconds for once in row.spent]
        table.add_row(
            row.method.name,
            "yes" if row.method.mirrors else "no",
            f"{row.seconds:.1f}",
            f"{min(seconds):.1f} - {max(seconds):.1f}",
            f"{row.together_mb:.0f}",
            f"{row.largest_mb:.0f}",
            "\n".join(_against(row, rows)),
        )
    Console(width=130).print(table)
    print(
        f"nnU-Net: patch {nnunet['patch']}, {nnunet['parameters']} parameters, mirrors {nnunet['mirrored']}; "
        f"ours: {options.run or ' '.join(options.network)}"
    )
    print(f"{_ask(sys.executable, _MACHINE)}; medians of {options.repeats}; {versions}")


def _against(row: Row, rows: Sequence[Row]) -> list[str]:
    """One of ours against the others that mirror as it does, and against MONAI, which never does."""
    if not row.method.name.startswith("ours"):
        return []
    others = [
        other
        for other in rows
        if other.method.name == "MONAI"
        or (other.method.name == "nnU-Net v2" and other.method.mirrors == row.method.mirrors)
    ]
    return [
        f"{other.method.name}: {other.seconds / row.seconds:.1f} times as fast, "
        f"{row.together_mb / other.together_mb:.2f} of its memory"
        for other in others
    ]


def write_rows(path: Path, rows: Sequence[Row], options: argparse.Namespace, versions: str) -> None:
    """Write one line per method; lines of other sizes that the file has already stay."""
    size = "x".join(map(str, options.size))
    kept = [line for line in read_csv(path) if line["size"] != size] if path.is_file() else []
    about = {"size": size, "scans": options.scans}
    common = {"repeats": options.repeats, "machine": _ask(sys.executable, _MACHINE), "versions": versions}
    lines = [
        {
            **about,
            "method": row.method.name,
            "mirrored": "yes" if row.method.mirrors else "no",
            "seconds": f"{row.seconds:.2f}",
            "seconds_least": f"{min(once.seconds for once in row.spent):.2f}",
            "peak_mb": f"{row.together_mb:.0f}",
            "peak_mb_of_one_process": f"{row.largest_mb:.0f}",
            **common,
        }
        for row in rows
    ]
    write_csv(path, [*kept, *lines])


def _installed_engines() -> list[str]:
    """Those that need nothing but the run; torch.compile compiles for a minute in every process."""
    code = "from app.infer import engines as e; print(*(n for n in e.ENGINES if not e.missing_packages(n)))"
    return [name for name in _ask(sys.executable, code).split() if name not in ("compile", "openvino_int8")]


def _ask(python: str, code: str) -> str:
    """What a line of Python prints, run elsewhere: here torch would share memory with what is measured."""
    done = subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return done.stdout.strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nnunet-python", required=True, help="of an environment with nnunetv2")
    parser.add_argument("--size", type=int, nargs=3, default=[36, 50, 35], help="typical voxels, D H W")
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", type=Path, help="a trained run of one MRI channel, in place of a new one")
    parser.add_argument("--network", nargs="+", default=["op=cakes", f"op.layout={LAYOUT}"],
                        help="overrides that give the new run's network")  # fmt: skip
    parser.add_argument(
        "--engines", nargs="+", help="of predict.engine; by default torch and its rivals here"
    )
    parser.add_argument("--leave-out", nargs="+", default=[], help="methods, such as 'nnU-Net v2, mirrored'")
    parser.add_argument("--csv", type=Path, help="such as docs/results/side_by_side.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""A data set whose cases are called after their patients: nothing that a run writes has their names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")

from app import run
from app.core.errors import InputError
from app.core.files import read_json
from app.data.sets.recorded import recorded_cases
from app.io.privacy import known_as
from app.io.volumes import write_voxels
from tests.support.config import TINY
from tests.support.dicom import save, slices
from tests.support.volumes import draw_blob

PEOPLE = ("Brandauer^Xenia", "Quirinus^Waldemar", "Zwettler^Philomena")
SECRET = ("brandauer", "xenia", "quirinus", "waldemar", "zwettler", "philomena", "19610203", "secret-id")
SIZE = (24, 22, 18)
MODEL = Path(__file__).parents[1] / "docs" / "models" / "phantom"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of each patient, in a folder or a series of the patient's name, labels too."""
    folder = tmp_path_factory.mktemp("data") / "Task"
    entries = []
    for number, person in enumerate(PEOPLE):
        for visit in (1, 2):
            scan, labels = draw_blob(SIZE, 1, 2 * number + visit)
            name = f"{person.replace('^', '_')}_v{visit}"
            made = slices(
                (100 * scan).round().astype(np.int16),
                series=name,
                PatientName=person,
                PatientID=f"secret-id-{number}",
                PatientBirthDate="19610203",
            )
            image = save(folder / "imagesTr" / name, made)
            label = folder / "labelsTr" / f"{name}.nii.gz"
            write_voxels(label, labels, like=image)
            entries.append({"image": str(image.relative_to(folder)), "label": str(label.relative_to(folder))})
    facts = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "blob"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(facts))
    (folder.parent / "sites.csv").write_text(
        "case,site\n" + "".join(f"{Path(entry['image']).name},north\n" for entry in entries)
    )
    return folder


def words(data: Path, *more: str) -> list[str]:
    group = "task.group={pattern: '^(.+)_v', block: null}"
    return ["task=decathlon", f"task.folder={data}", f"task.strata={data.parent / 'sites.csv'}", group, *more]


def told(folder: Path) -> dict[str, str]:
    """Everything a person reads in a run folder, and the names of its files."""
    found = {str(path.relative_to(folder)): "" for path in folder.rglob("*")}
    for path in folder.rglob("*"):
        if path.suffix in (".csv", ".json", ".yaml", ".log", ".html", ".md", ".txt"):
            found[str(path.relative_to(folder))] = path.read_text(encoding="utf-8")
    return found


def names_in(texts: dict[str, str]) -> set[tuple[str, str]]:
    return {
        (file, secret)
        for file, text in texts.items()
        for secret in SECRET
        if secret in f"{file}\n{text}".lower()
    }


def test_no_file_and_no_line_of_a_training_names_a_patient(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "run"
    options = [*TINY, f"paths.run={place}", f"paths.cache={tmp_path / 'cache'}"]
    apart = {"test": "Brandauer_Xenia_v1", "exclude": "Brandauer_Xenia_v2"}
    for side, name in apart.items():
        (tmp_path / f"{side}.txt").write_text(name)
        options.append(f"split.{side}={tmp_path / side}.txt")
    run(*words(data, *options, "train.steps=4"))
    run("mode=report", f"report.runs={place}", f"report.output={tmp_path / 'page' / 'report.html'}")
    output = capsys.readouterr()
    assert not names_in({"lines": output.out + output.err, **told(place), **told(tmp_path / "page")})
    assert not names_in(told(tmp_path / "cache"))
    split = read_json(place / "split.json")
    assert len(split["test"]) == 1 and len(split["train"]) == len(split["validation"]) == 2
    groups = {split["groups"][case] for case in split["train"]}
    assert len(groups) == 1, "both scans of a patient stay together"
    assert split["files"][split["test"][0]]["position"] == 0
    rows = (place / "cases.csv").read_text().splitlines()
    assert rows[0].endswith("by_site") and all(row.endswith("north") for row in rows[1:])
    for case in recorded_cases(place, "validation"):
        assert case.image.is_dir() and case.label is not None and case.label.is_file()
    run(f"train.resume={place}")  # the same cases have the same names


def test_a_check_names_them_by_their_place(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run("mode=check", *words(data, f"paths.run={tmp_path / 'check'}"))
    output = capsys.readouterr()
    assert not names_in({"lines": output.out + output.err, **told(found.path)})
    rows = (found.path / "check.csv").read_text()
    assert rows.count("named_after_patient") == 6 and "number 6 of dataset.json" in rows
    shown = run("mode=check", *words(data, f"paths.run={tmp_path / 'shown'}", "task.anonymous=false"))
    assert "Brandauer_Xenia_v1" in (shown.path / "check.csv").read_text()


def test_corrected_label_maps_of_renamed_cases_are_added(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `mode=predict` names them; dataset_2.json is the data set's own and has its own names."""
    entry = json.loads((data / "dataset.json").read_text())["training"][3]
    image = data / entry["image"]
    name = known_as({image: image.name}, anonymous=True)[image].name
    assert name.startswith("scan_")
    corrected = tmp_path / "corrected" / f"{name}.nii.gz"
    corrected.parent.mkdir()
    shutil.copy(data / entry["label"], corrected)
    found = run("mode=check", *words(data, f"paths.run={tmp_path / 'c'}", f"check.add={corrected.parent}"))
    output = capsys.readouterr()
    assert not names_in({"lines": output.out + output.err, **told(found.path)})
    listed = json.loads((data / "dataset_2.json").read_text())["training"]
    (data / "dataset_2.json").unlink()
    assert [one["label"] for one in listed].index(str(corrected)) == 3 and len(listed) == 6


def test_label_maps_called_after_patients_are_scored_without_their_names(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = data / "labelsTr"
    place = [
        f"evaluate.predictions={labels}",
        f"evaluate.labels={labels}",
        f"evaluate.output={tmp_path / 'e'}",
    ]
    scored = run("mode=evaluate", *words(data, *place))
    output = capsys.readouterr()
    assert scored.summary["dice"] == {"blob": 1.0} and len(scored.cases) == 6
    assert not names_in({"lines": output.out + output.err, **told(scored.path)})


def test_no_file_and_no_line_of_a_prediction_names_a_patient(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One scan is good, one lacks a slice, one is named twice, and a letter lies beside them."""
    scans, output = tmp_path / "scans", tmp_path / "out"
    for name in ("Brandauer_Xenia_v1", "Quirinus_Waldemar_v1"):
        shutil.copytree(data / "imagesTr" / name, scans / name / "series")
    shutil.copytree(data / "imagesTr" / "Zwettler_Philomena_v2", scans / "Zwettler_Philomena")
    sorted((scans / "Zwettler_Philomena").iterdir())[3].unlink()
    (scans / "Quirinus_Waldemar_v1" / "letter_to_Quirinus.txt").write_text("a letter")
    (scans / "Zwettler_letter.txt").write_text("a letter")
    words = [
        *("mode=predict", f"predict.model={MODEL}", f"predict.output={output}"),
        *("sliding=fast", "sliding.mirror_axes=[]"),
    ]
    with pytest.raises(InputError) as error:
        run(*words, f"predict.input={scans}")
    assert not names_in({"error": str(error.value)})
    twice = scans / "Brandauer_Xenia_v1" / "series"
    with pytest.raises(InputError) as error:
        run(*words, f"predict.input=[{twice},{scans / 'Quirinus_Waldemar_v1' / 'series'}]")
    texts = capsys.readouterr()
    assert not names_in({"lines": texts.out + texts.err, "error": str(error.value), **told(output)})
    cases = read_json(output / "manifest.json")["cases"]
    assert sorted(one["status"] for one in cases.values()) == ["failed", "written", "written"]
    assert len(read_json(output / "manifest.json")["refused"]) == 2
    assert texts.out.startswith("left out: (patient), (patient): no known format\n")

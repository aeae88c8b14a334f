"""The names of the files that a run leaves behind."""

from pathlib import Path

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
FINGERPRINT = "fingerprint.json"
PLAN = "plan.yaml"
CHECK = "check.csv"
CHECK_PAGE = "check.html"
LAYOUT = "layout.yaml"
LAYOUT_PICTURE = "layout.png"
SPLIT = "split.json"
METRICS = "metrics.csv"
CASES = "cases.csv"
STATISTICS = "statistics.json"
CALIBRATION = "calibration.json"
CARD = "model_card.md"
SUMMARY = "summary.json"
LAST = "last.pt"
BEST = "best.pt"
INIT = "init.pt"
INIT_RECORD = "init.json"
BUNDLE_WEIGHTS = "models/model.pt"
TEST = "test"
PREDICTIONS = "predictions"
MANIFEST = "manifest.json"
VOLUMES = "volumes_ml.csv"
CLEANUP = "cleanup.json"
EXPORT = "export"
REPORT = "report.html"
LOG = "run.log"
STOP = "stop"
LOCATE = "locate"
ANALYSIS = "analysis.csv"
ANALYSIS_PICTURE = "analysis.png"
COMPRESSION = "compression.csv"
RANKS = "ranks.yaml"
NATURAL_LAYOUT = "natural_layout.yaml"
BEFORE = "before"
RESULTS = "results.csv"
FOLDS = "folds.json"
FOLDS_TABLE = "folds.csv"
YARDSTICK = "yardstick.json"


def can_resume(run: Path) -> bool:
    """Whether a training has left something there to go on from."""
    return (run / LAST).is_file() or (run / LOCATE / LAST).is_file()


def prediction_path(run: Path, case_id: str) -> Path:
    """Where a run keeps the label map it predicts for a case."""
    return run / PREDICTIONS / f"{case_id}.nii.gz"

"""Run folders -> one self-contained HTML page; reads files, never objects."""

from app.report.page import write_report
from app.report.runs import find_runs

__all__ = ["find_runs", "write_report"]

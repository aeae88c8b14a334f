"""Run folders -> one table and one self-contained HTML page; reads files, never objects."""

from app.report.page import write_report
from app.report.results import write_results
from app.report.runs import find_runs

__all__ = ["find_runs", "write_report", "write_results"]

"""Reports: from run folders to tables and self-contained HTML pages; only files are read.

Nothing is imported here, because pages and pictures take a second to import.
"""

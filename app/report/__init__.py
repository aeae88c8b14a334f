"""Run folders -> one table and one self-contained HTML page; reads files, never objects.

Pages and pictures take a second to import, so nothing is imported here.
"""

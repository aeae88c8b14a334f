"""The page, its script and its style, which the server sends with the volumes of one case."""

import json
from pathlib import Path

from app.view.server import Content
from app.view.viewed_case import ViewedCase, show

_HERE = Path(__file__).parent
_FILES = {
    "": ("view.html", "text/html; charset=utf-8"),
    "view.css": ("view.css", "text/css; charset=utf-8"),
    "view.js": ("view.js", "text/javascript; charset=utf-8"),
    "niivue.js": ("niivue.js", "text/javascript; charset=utf-8"),
}


def contents(case: ViewedCase) -> dict[str, Content]:
    """Return everything that the page loads, by name; the name of the page itself is empty."""
    files, facts = show(case)
    page = {name: Content((_HERE / file).read_bytes(), kind) for name, (file, kind) in _FILES.items()}
    volumes = {name: Content(data) for name, data in files.items()}
    text = json.dumps(facts, allow_nan=False).encode()
    return {**page, **volumes, "case.json": Content(text, "application/json")}

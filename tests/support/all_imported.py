"""Everything that commands import, imported: a process that forks commands loads it beforehand."""

import importlib
import pkgutil

import app
from app.cli.shell.command_line import find_plugins

_BY_DEMAND = ("app.cli.plugins",)

find_plugins()
for module in pkgutil.walk_packages(app.__path__, "app."):
    if not module.name.startswith(_BY_DEMAND):
        importlib.import_module(module.name)
for name in ("monai.losses.ds_loss", "matplotlib.pyplot", "sqlalchemy.dialects.sqlite"):
    importlib.import_module(name)

"""Doorstep: command line and composition root.

Everything that knows the whole system lives here: settings, the embedded Postgres and Redis, start-up.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("doorstep")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0"

__all__ = ["__version__"]

import doorstep.cluster.ray_environment  # noqa: F401 - whatever is imported of this package, it comes before Ray

"""Libraries that come with an extra of this package, imported where they are needed."""

from importlib import import_module
from typing import Any

from gal_friday.errors import ConfigurationError


def library(name: str, extra: str) -> Any:
    """The module *name*. Raises ConfigurationError where the *extra* that brings it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise ConfigurationError(f"{package} is not installed: pip install 'gal_friday[{extra}]'") from None

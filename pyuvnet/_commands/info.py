"""pyuvnet info: versions and build flags."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .._base.version import __version__
from .._core import info
from ..errors import StateError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Print the versions of pyuvnet, Python and libuv, and how this was built."


def main(options: argparse.Namespace) -> int:
    """Print them."""
    print(f"pyuvnet  {__version__}")
    print(f"Python   {sys.version.split()[0]} ({sys.implementation.name}, {sys.platform})")
    print(f"libuv    {info.libuv_version()}")
    print(f"build    {info.build_flags()}")
    print(f"tls      {_tls()}")
    return 0


def _tls() -> str:
    try:
        import ssl

        from .. import tls
    except (ImportError, StateError) as error:
        return f"unavailable: {error}"
    engine = tls.engine
    why = f", since {engine.reason}" if engine.reason else ""
    return f"{ssl.OPENSSL_VERSION}, engine {engine.name}{why}"

"""The logger of serve(): one line for each event, on stderr."""

from __future__ import annotations

import logging

LOG = logging.getLogger("pyuvnet.serve")
_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(message)s"


def set_up_logging(level: str) -> None:
    """Let the logger `pyuvnet` write to stderr, unless the program has set logging up."""
    ours = logging.getLogger("pyuvnet")
    ours.setLevel(level.upper())
    if not ours.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        ours.addHandler(handler)
        # Else a program that sets logging up later would have each line twice.
        ours.propagate = False

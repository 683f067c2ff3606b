"""What this interpreter has that others have not; imports none of it."""

from __future__ import annotations

import sys
import sysconfig
from importlib.util import find_spec

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# The extra 'test' has uvloop, but nobody publishes one for every build without a GIL.
UVLOOP = sys.platform != "win32" and not (FREE_THREADED and find_spec("uvloop") is None)

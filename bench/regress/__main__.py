"""python -m bench.regress"""

import sys

from bench.regress import main

sys.exit(main())

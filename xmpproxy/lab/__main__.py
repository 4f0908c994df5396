from __future__ import annotations

import sys

from xmpproxy.lab.install import main

sys.exit(main(sys.argv[1:]))

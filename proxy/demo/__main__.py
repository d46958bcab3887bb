"""`python -m proxy.demo`: the proxy on a configuration, with demo backends where none answers."""

import sys

from .launcher import main

sys.exit(main())

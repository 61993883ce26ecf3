"""`python -m splnode` is the shell, for where its script is not on the PATH."""

import sys

from splnode.cli.main import main

sys.exit(main())

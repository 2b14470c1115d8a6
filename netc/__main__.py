"""`python -m netc`: the command line without the installed script."""

import sys

from netc.cli import main

if __name__ == "__main__":
    sys.exit(main())

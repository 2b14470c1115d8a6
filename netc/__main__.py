"""`python -m netc`: the command line without the installed script.

Python puts the working directory in front of everything that is imported. It may hold anything, a click.py of somebody
else's, so it is taken out first: before any other import, `__future__` included. (netc itself was found by then.)
"""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    from netc.cli import main

    sys.exit(main())

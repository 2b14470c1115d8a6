"""Exit statuses of `netc`: BSD's sysexits where they fit (see `netc.errors`), 128 + signal for an interruption."""

DONE = 0
FAILED = 1
BAD_DATA = 65
NO_INPUT = 66
STOPPED = 75  # stopped on request, with a snapshot saved: the same command with --resume auto goes on
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

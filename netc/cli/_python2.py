"""Programs written for Python 2: how they show, and what to do."""

from __future__ import annotations

import linecache
import re

from netc.errors import NetcError, Place

HINT = (
    "rewrite it for Python 3: `2to3 -w FILE` (it comes with Python up to 3.12), or `futurize -w FILE` of the package "
    "future; python-modernize does the same"
)

_STATEMENTS = re.compile(
    r"""^\s*(?:
        print\s+[^\s(=.\[,] | print\s*$ | print\s*>> |       # print "…"
        exec\s+[^\s(=] |
        except\s+[\w.()\s,]+,\s*\w+\s*: |                   # except Error, error:
        raise\s+[\w.]+\s*,                                   # raise Error, "…"
    ) | <> | \b0[0-7]+\b(?![.\w]) | \b\d+[lL]\b | \bur["\'] | `[^`]*` """,
    re.VERBOSE,
)
_MODULES = frozenset(
    [
        "cPickle",
        "StringIO",
        "cStringIO",
        "ConfigParser",
        "Queue",
        "urllib2",
        "urlparse",
        "Tkinter",
        "__builtin__",
        "commands",
        "httplib",
        "copy_reg",
        "exceptions",
        "sets",
        "HTMLParser",
        "Cookie",
        "cookielib",
        "SocketServer",
        "thread",
    ]
)
_NAMES = frozenset(
    ["xrange", "unicode", "raw_input", "basestring", "long", "unichr", "reduce", "file", "cmp", "execfile", "reload"]
)
_METHODS = frozenset(["iteritems", "iterkeys", "itervalues", "has_key"])


def as_python2(error: BaseException) -> NetcError | None:
    """A syntax error as what it is where the file is one for Python 2, else None.

    C220 with the line; files are told by their statements: print, exec, except and raise with a comma, <>, 0777.
    """
    if not isinstance(error, SyntaxError) or not error.filename or not error.lineno:
        return None
    line = (error.text or linecache.getline(error.filename, error.lineno)).rstrip("\n")
    mixed = isinstance(error, TabError)
    if not mixed and not _STATEMENTS.search(line) and "Missing parentheses in call to" not in str(error.msg):
        return None
    stripped = line.lstrip()
    place = Place(error.filename, error.lineno, len(line) - len(stripped) + 1, max(1, len(stripped)), line)
    return NetcError("C220", f"this is Python 2, and netc runs on Python 3: {error.msg}", place, HINT)


def remark(error: BaseException) -> str:
    """What to add to an exception that Python 2 would not have raised; "" for all others."""
    name = getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError):
        old = name in _MODULES
    elif isinstance(error, NameError):
        old = name in _NAMES
    else:
        old = isinstance(error, AttributeError) and name in _METHODS
    return f"{name} is Python 2's, and netc runs on Python 3; {HINT}" if old else ""

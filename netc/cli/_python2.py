"""Programs written for Python 2: how they show, and what to do."""

from __future__ import annotations

import linecache
import os
import re
import traceback

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
_MESSAGES = re.compile(r"Missing parentheses in call to|parameters cannot be parenthesized")
_MODULES = """
cPickle StringIO cStringIO ConfigParser Queue urllib2 urlparse Tkinter __builtin__ commands httplib
copy_reg exceptions sets HTMLParser Cookie cookielib SocketServer thread
"""
_NAMES = """
xrange unicode raw_input basestring long unichr reduce file cmp execfile reload izip
"""
_METHODS = ("iteritems", "iterkeys", "itervalues", "has_key")
_FUNCTIONS = {
    "itertools": "izip imap ifilter izip_longest",
    "os": "getcwdu",
    "string": "letters lowercase uppercase maketrans join split replace atoi",
    "sys": "maxint setdefaultencoding",
    "urllib": "urlopen urlretrieve quote unquote urlencode",
}
"""Module → what it had in Python 2 only."""

_LISTS = re.compile(
    r"'(?:o?dict_(?:keys|values|items)|map|filter|zip|range)' (?:object (?:is not subscriptable|does not support item)"
    r"|and )|of type '(?:map|filter|zip)' has no len|and '(?:dict_keys|dict_values|dict_items|map|filter|zip|range)'"
)
_BYTES = re.compile(r"bytes-like object is required, not 'str'|must be str, not bytes|can't concat str to bytes")
_FRACTION = re.compile(
    r"float\d*' object cannot be interpreted as an integer|indices must be integers|are valid indices"
    r"|expected a sequence of integers"
)


def as_python2(error: BaseException) -> NetcError | None:
    """A syntax error as what it is where the file is one for Python 2, else None.

    C220 with the line; files are told by their statements: print, exec, except and raise with a comma, <>, 0777.
    """
    if not isinstance(error, SyntaxError) or not error.filename or not error.lineno:
        return None
    line = (error.text or linecache.getline(error.filename, error.lineno)).rstrip("\n")
    mixed = isinstance(error, TabError)
    if not mixed and not _STATEMENTS.search(line) and not _MESSAGES.search(str(error.msg)):
        return None
    stripped = line.lstrip()
    place = Place(error.filename, error.lineno, len(line) - len(stripped) + 1, max(1, len(stripped)), line)
    return NetcError("C220", f"this is Python 2, and netc runs on Python 3: {error.msg}", place, HINT)


def remark(error: BaseException) -> str:
    """What to add to an exception that Python 2 would not have raised; "" for all others."""
    if name := _gone(error):
        return f"{name} is Python 2's, and netc runs on Python 3; {HINT}"
    if isinstance(error, ModuleNotFoundError) and _lies_beside(error):
        return (
            f"{error.name} lies beside the module that imports it, where Python 2 looked too: "
            f"in Python 3 it is `from . import {error.name}`; {HINT}"
        )
    if isinstance(error, UnicodeDecodeError) and "load" in _line(error):
        return 'what Python 2 has pickled is read by pickle.load(file, encoding="latin1")'
    if reason := _other_values(error):
        return f"if this was written for Python 2: {reason}; {HINT}"
    return ""


def _gone(error: BaseException) -> str:
    """The name that only Python 2 has."""
    name = getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError):
        return name if name in _MODULES.split() else ""
    if isinstance(error, ImportError):
        found = re.match(r"cannot import name '(\w+)'", str(error))
        return found[1] if found and found[1] in _FUNCTIONS.get(name, "").split() else ""
    if isinstance(error, NameError):
        return name if name in _NAMES.split() else ""
    return name if isinstance(error, AttributeError) and _had(error.obj, name) else ""


def _had(found: object, name: str) -> bool:
    """Whether Python 2 had this attribute of this object."""
    if name in _METHODS:
        return True
    if name in _FUNCTIONS.get(getattr(found, "__name__", ""), "").split():
        return True
    if name == "next":
        return hasattr(found, "__next__")
    if name == "sort":
        return type(found).__name__ in ("dict_keys", "dict_values", "dict_items", "odict_keys", "map", "filter", "zip")
    return (name == "decode" and isinstance(found, str)) or (name == "encode" and isinstance(found, bytes))


def _other_values(error: BaseException) -> str:
    """Why a value is of another type than in Python 2."""
    text = str(error)
    if isinstance(error, TypeError) and _LISTS.search(text):
        return "keys(), values(), items(), map, filter, zip and range gave lists there; list(…) makes one"
    if isinstance(error, TypeError) and _BYTES.search(text):
        return 'its strings were bytes; open the file with "w" instead of "wb", or encode() the text'
    if isinstance(error, TypeError | IndexError) and _FRACTION.search(text):
        return "`/` of whole numbers rounded down there; `//` does so here"
    return ""


def _lies_beside(error: ModuleNotFoundError) -> bool:
    """Whether the module that is not found lies in the folder of the package that imports it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if not _is_pythons(frame.f_code.co_filename)]
    if not frames or not frames[-1].f_globals.get("__package__") or not error.name:
        return False
    beside = os.path.join(os.path.dirname(frames[-1].f_code.co_filename), error.name.partition(".")[0])
    return os.path.isdir(beside) or os.path.exists(f"{beside}.py")


def _is_pythons(filename: str) -> bool:
    return filename.startswith("<frozen")


def _line(error: BaseException) -> str:
    """The program's line that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""

"""What a Data layer's `source` is: an LMDB, a LevelDB, or something else that people give in their place."""

from __future__ import annotations

import os

from netc.errors import NetcError, Place
from netc.files.opening import open_regular
from netc.runtime.data.leveldb import LevelDB, is_leveldb
from netc.runtime.data.lmdb import LMDB

_HEAD = 4096
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
_BEGINNINGS = (
    ((b"\x89HDF\r\n\x1a\n",), "an HDF5 file", 'a layer of type "HDF5Data" reads it, from a text file that lists it'),
    (_PICTURES, "a picture", "`netc convert-imageset` makes a database of pictures"),
    ((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"), "an archive", "unpack it first"),
    ((b"MANIFEST-",), "a file of a LevelDB", "give its folder"),
)
_FOLDER_HINT = "make a database of pictures with `netc convert-imageset`"


def open_database(path: str, place: Place | None = None) -> LMDB | LevelDB:
    """The records of an LMDB, or of a LevelDB. Raises what these two raise, and says of a D510 what the source is."""
    if is_leveldb(path):
        return LevelDB(path, place)
    if os.path.isdir(path) and not os.path.lexists(os.path.join(path, "data.mdb")):
        raise _stranger(path, place, *_folder(path, place))
    try:
        return LMDB(path, place)
    except NetcError as error:
        if error.code != "D510" or not (found := _file(path)):
            raise
        raise _stranger(path, place, *found) from None


def _stranger(path: str, place: Place | None, what: str, hint: str) -> NetcError:
    return NetcError(
        "D510", f"the database {path} is neither an LMDB nor a LevelDB, but {what}", place or Place(path), hint
    )


def _folder(path: str, place: Place | None) -> tuple[str, str]:
    """What a folder without a database is, and what to do."""
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        message = f"the database {path} cannot be read: {error.strerror}"
        raise NetcError("X120", message, place or Place(path)) from None
    inside = [name for name in names if os.path.isfile(os.path.join(path, name, "data.mdb"))]
    inside += [name for name in names if is_leveldb(os.path.join(path, name))]
    if inside:
        return f"a folder that holds {', '.join(inside[:3])}", f'give "{os.path.join(path, inside[0])}"'
    return ("a folder of other files" if names else "an empty folder"), _FOLDER_HINT


def _file(path: str) -> tuple[str, str] | None:
    """What a file that is no database is, and what to do; None where its beginning does not tell."""
    if os.path.isdir(path):
        path = os.path.join(path, "data.mdb")
    if os.path.basename(path) == "lock.mdb":
        return "the lock file of an LMDB", "give its folder"
    with open_regular(path) as file:
        head = file.read(_HEAD)
    for beginnings, what, hint in _BEGINNINGS:
        if head.startswith(beginnings):
            return what, hint
    if head.strip() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "a text file", 'a layer of type "ImageData" reads a list of pictures, "HDF5Data" one of .h5 files'
    return None

"""The manifest of a snapshot: JSON that vouches for two files, and for itself."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netc import __version__
from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.hashing import Digest
from netc.files.opening import open_regular, read_bytes

VERSION = 1
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """names: the weights' file name, the state's, and perhaps that of what recurrent layers keep. files: size and
    SHA-256 by file name."""

    iteration: int
    names: list[str]
    files: dict[str, Digest]
    extras: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The manifest's own SHA-256 is over everything else in it. Raises TypeError if extras are not JSON."""
        body = {
            "netc_snapshot": VERSION,
            "iteration": self.iteration,
            "weights": self.names[0],
            "state": self.names[1],
            **({"hidden": self.names[2]} if len(self.names) > 2 else {}),
            "files": {name: digest._asdict() for name, digest in self.files.items()},
            "extras": self.extras,
            "versions": _versions(),
        }
        return _render(body)


_BODY = checked_json.Record(
    {
        **dict.fromkeys(("netc_snapshot", "iteration"), int),
        **dict.fromkeys(("weights", "state", "sha256"), str),
        "files": {str: checked_json.Record({"size": int, "sha256": str})},
        "extras": dict,
    },
    {"hidden": str},
)


def read_manifest(path: Path) -> Manifest:
    """Raises NetcError F102, F104, F110, X110 (not such a file, missing, unreadable), W730 (damaged, or of a later
    netc)."""
    try:
        text = _read(path)
        body = checked_json.parse(text, constants=True)
        checked_json.check(body, _BODY)
        del body["sha256"]
        if _render(body) != text:
            raise ValueError("its own SHA-256 disagrees")
        if body["netc_snapshot"] != VERSION:
            raise ValueError(f"it has version {body['netc_snapshot']}, this netc reads {VERSION}")
        files = {name: Digest(**digest) for name, digest in body["files"].items()}
        names = [_plain(body[part]) for part in ("weights", "state", "hidden") if part in body]
        return Manifest(body["iteration"], names, {name: files[name] for name in names}, body["extras"])
    except KeyError as error:
        raise damaged(path, f"it has no digest of {error}") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None


def is_manifest(path: Path) -> bool:
    """Whether netc wrote this file as a manifest, whole or not."""
    if path.is_symlink():
        return False
    with suppress(OSError, NetcError), open_regular(path) as file:
        return file.read(len(_BEGINS)) == _BEGINS
    return False


_BEGINS = b'{\n "netc_snapshot": '


def damaged(path: Path, reason: str) -> NetcError:
    hint = "use an earlier snapshot (`--resume auto`)"
    return NetcError("W730", f"the manifest is damaged: {reason}", Place(str(path)), hint)


def _read(path: Path) -> str:
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise NetcError("F110", "there is no such snapshot", Place(str(path))) from None
    except OSError as error:
        raise NetcError("X110", f"cannot be read: {error.strerror or error}", Place(str(path))) from None


def _render(body: dict[str, Any]) -> str:
    """The one way to write a manifest: what differs from it in a single bit is not a manifest."""
    sha = hashlib.sha256(_dump(body).encode()).hexdigest()
    return _dump({**body, "sha256": sha})


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=1) + "\n"


def _plain(name: str) -> str:
    if Path(name).name != name or "\0" in name:
        raise ValueError(f"{name!r} is not a file name")
    return name


def _versions() -> dict[str, str]:
    torch = sys.modules.get("torch")
    versions = {"netc": __version__, "python": platform.python_version()}
    return versions | ({"torch": str(torch.__version__)} if torch else {})

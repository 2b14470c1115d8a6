"""Which run a snapshot belongs to: PREFIX.runs.jsonl, a line for each run that began under a prefix.

    {"netc_runs": 1, "run": "vgg_A", "id": "5f0c…", "solver": "../vgg_A.prototxt", "seed": 0, "weights": [], …}

A run begins when training starts afresh, or goes on from a snapshot other than the newest of its run. Its `id` stands
in the manifests of its snapshots and in its records. `--resume auto` goes on with the run that the same command began
last (`chosen`), whatever iterations others under this prefix have come to.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.durable import write_all
from netc.files.opening import read_bytes
from netc.files.owned import Foreign, open_own
from netc.files.shipped import FOLDER, is_shipped
from netc.runtime.solver import snapshot as files
from netc.runtime.solver.manifest import read_manifest
from netc.runtime.solver.snapshot import Snapshot

_MOST_BYTES = 1 << 24
_LINE = checked_json.Record(
    {**dict.fromkeys(("id", "root", "solver", "launch", "snapshot"), str), "seed": int, "weights": [str]}, {"run": str}
)


@dataclass(frozen=True, slots=True)
class Command:
    """What a command line asks for. `solver` and `weights` are paths as seen from the folder of the snapshots. None: it
    does not say."""

    solver: str
    seed: int | None = None
    weights: tuple[str, ...] | None = None

    def began(self, run: Run) -> bool:
        """Whether it asks for nothing that `run` is not."""
        return (
            run.solver == self.solver
            and self.seed in (None, run.seed)
            and (self.weights is None or list(self.weights) == run.weights)
        )


@dataclass(frozen=True, slots=True)
class Run:
    """root: the id of the run that it branched off, its own where it did not; records go by it. launch: what the
    launcher calls this start of its processes, "" for one process. snapshot: the state that the run went on from, ""
    for none."""

    id: str
    root: str
    solver: str
    seed: int
    weights: list[str] = field(default_factory=list)
    launch: str = ""
    snapshot: str = ""


def path_of(prefix: Path) -> Path:
    """Where the runs of a prefix are written down."""
    return prefix.with_name(f"{prefix.name}.runs.jsonl")


def new_id() -> str:
    return uuid.uuid4().hex


def seen_from(prefix: Path, path: str) -> str:
    """A path as seen from the folder of the snapshots, so that both can be moved together. A text has no path, and what
    comes with netc the same one wherever netc is installed."""
    if is_shipped(path):
        return f"netc.models/{Path(path).relative_to(FOLDER).as_posix()}"
    return path if path.startswith("<") else os.path.relpath(path, prefix.parent)


def launch_of() -> str:
    """What the launcher calls this start of its processes, the same after a restart; "" where it has no name."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return "" if name == "none" else name


def runs(prefix: Path) -> list[Run]:
    """Those that began under a prefix, in order. Raises NetcError O613 where their file is not readable."""
    path = path_of(prefix)
    found = []
    try:
        lines = read_bytes(path, _MOST_BYTES).splitlines() if os.path.lexists(path) else ()
    except (OSError, NetcError) as error:
        raise NetcError("O613", f"the runs of this prefix cannot be read: {error}", Place(str(path))) from None
    for line in lines:
        with suppress(ValueError):
            body = checked_json.parse(line)
            checked_json.check(body, _LINE)
            found.append(Run(**{name: body[name] for name in Run.__slots__}))
    return found


def write(prefix: Path, run: Run) -> None:
    """Add a run, flushed to the disk. Raises NetcError O613 where another's file has the name, O610."""
    path = path_of(prefix)
    mark = json.dumps({"netc_runs": 1, "run": prefix.name})[:-1].encode()
    try:
        handle = open_own(path, mark)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            line = json.dumps(asdict(run))[1:]
            write_all(handle, (b"\n" if torn else b"") + mark + f", {line}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except Foreign as error:
        message = f"the list of runs has no place: {error}"
        raise NetcError("O613", message, Place(str(path)), error.hint) from None
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise NetcError("O610", message, Place(str(path)), "set snapshot_prefix to a place you can write to") from None


def chosen(
    prefix: Path, command: Command, restarted: str, damaged: Callable[[NetcError], None]
) -> tuple[Snapshot | None, str | None]:
    """What to go on from, and the id of the run: (None, id) for a run that has saved nothing yet, (None, None) for a
    fresh start. `restarted`: the launch whose run it has to be, if it has begun one; "" for the command's.

    Snapshots that no run has claimed (of an earlier netc, of a program) are taken where the command has begun none.
    Raises NetcError O614 where all that is here belongs to runs of other commands.
    """
    known = runs(prefix)
    mine = [run for run in known if (run.launch == restarted if restarted else command.began(run))]
    if mine:
        run = mine[-1]
        found = files.latest(prefix, damaged, lambda owner: owner == run.id)
        if found is None and run.snapshot:
            found = files.load(prefix.parent / run.snapshot)
        return found, run.id
    if restarted:
        return None, None
    claimed = {run.id for run in known}
    found = files.latest(prefix, damaged, lambda owner: owner not in claimed)
    if found is None and known and (others := files.latest(prefix)) is not None:
        raise _of_others(prefix, others, known[-1])
    return found, new_id() if found is not None else None


def _of_others(prefix: Path, found: Snapshot, last: Run) -> NetcError:
    began = f"solver {last.solver}, seed {last.seed}" + (f", weights {','.join(last.weights)}" if last.weights else "")
    return NetcError(
        "O614",
        f"no run of this command is here, but {found.path.name} of another: {began}",
        Place(str(path_of(prefix))),
        f"--snapshot {found.path} goes on from it; set another snapshot_prefix, or start afresh with --force",
    )


def identify(prefix: Path, iteration: int, state: Path | None, owner: str | None) -> str:
    """The id of a run that goes on from the state at `state`, saved by run `owner`, or from none: the owner's where the
    state is the newest of it."""
    if state is None or owner is None or not _is_of(prefix, state):
        return new_id()
    ahead = [at for at, saver in owners(prefix) if saver == owner and at > iteration]
    return new_id() if ahead else owner


def _is_of(prefix: Path, state: Path) -> bool:
    return state.name.startswith(f"{prefix.name}_iter_") and os.path.samefile(state.parent, prefix.parent)


def owners(prefix: Path) -> list[tuple[int, Any]]:
    """(iteration, id of its run or None) of each snapshot whose manifest can be read."""
    found = []
    for path in files.manifests(prefix):
        with suppress(NetcError):
            manifest = read_manifest(path)
            found.append((manifest.iteration, manifest.extras.get("run")))
    return found

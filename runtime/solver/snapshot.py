"""Snapshots that are whole or not there: Caffe's two files, and a manifest that says they are complete.

    PREFIX_iter_N.caffemodel[.h5]      the weights, as Caffe writes them
    PREFIX_iter_N.solverstate[.h5]     iterations done and the update rule's history, as Caffe writes them
    PREFIX_iter_N.hidden.safetensors   what recurrent layers carry from one pass to the next, where the net has such
    PREFIX_iter_N.manifest.json        sizes and SHA-256 of these, and what Caffe has no field for

All are written in a folder beside their place, flushed to the disk and renamed, the manifest last. A snapshot exists
if, and only if, its manifest agrees with its files. A failed or interrupted save leaves earlier snapshots alone, and
a file that no manifest vouches for as netc's (Caffe's own, a user's, a link) is never replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from netc import weights
from netc.errors import NetcError, Place
from netc.files.durable import FULL, NO_PLACE, Staging, free_bytes, free_text, stale
from netc.files.hashing import Chunk, Digest, digest_of
from netc.runtime.solver.manifest import Manifest, is_manifest, read_manifest
from netc.weights import Array, SolverState
from netc.weights.formats.caffemodel import caffemodel_chunks, solverstate_chunks, trained_net
from netc.weights.formats.hdf5 import hdf5_image, hdf5_state_image
from netc.weights.formats.safetensors import safetensors_chunks

HIDDEN = ".hidden.safetensors"
FORMATS = {"BINARYPROTO": "", "HDF5": ".h5"}
_NAME = r"_iter_(\d+)\.manifest\.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was read.

    Attributes:
        iteration: iterations done. current_step: Caffe's count of rate drops.
        history: the update rule's arrays in Caffe's order; those of 2014's files have four axes.
        learned_net: the weights' path as the state names it; weights: the file there is.
        extras: what `save` was given. verified: a manifest vouches for the files (False for Caffe's own).
        path: the solver state. hidden: the file of what recurrent layers carry on; None where there is none.
    """

    iteration: int
    history: list[Array]
    current_step: int
    learned_net: str
    weights: Path
    extras: dict[str, Any]
    verified: bool
    path: Path
    hidden: Path | None = None


def save(
    prefix: str | os.PathLike[str],
    iteration: int,
    net: Any,
    arrays: Mapping[str, Sequence[Array]],
    history: Sequence[Array],
    current_step: int = 0,
    extras: Mapping[str, Any] | None = None,
    format: str = "BINARYPROTO",
    diffs: Mapping[str, Sequence[Array]] | None = None,
    hidden: Mapping[str, Sequence[Array]] | None = None,
) -> Path:
    """Save a snapshot and return the path of its solver state.

    Args:
        prefix: what the file names begin with (a solver's snapshot_prefix).
        net: NetParameter of the training net as compiled (splits in it, phases and loss weights filled in).
        arrays: layer name → its arrays in Caffe's blob order. history: see SolverState.
        extras: anything JSON can hold; comes back from `load`.
        format: "BINARYPROTO" or "HDF5" (needs h5py). diffs: like arrays, for a solver with snapshot_diff.
        hidden: what recurrent layers carry on, under any names.
    Raises NetcError O701 (no place to write), O702 (a file in the way is not netc's), X701 (disk full), X702 (I/O
    error), W707 (h5py missing). Nothing of the failed snapshot stays then, and earlier ones are as they were.
    """
    base, suffix = f"{os.fspath(prefix)}_iter_{iteration}", FORMATS[format]
    model, state = Path(f"{base}.caffemodel{suffix}"), Path(f"{base}.solverstate{suffix}")
    solver_state = SolverState(iteration, str(model), list(history), current_step)
    parts = {
        model: list(_model_chunks(net, arrays, diffs, format)),
        state: list(_state_chunks(solver_state, format)),
    }
    if hidden:
        parts[Path(f"{base}{HIDDEN}")] = list(_hidden_chunks(hidden))
    _commit(Path(prefix), Path(f"{base}.manifest.json"), parts, iteration, dict(extras or {}))
    return state


def load(path: str | os.PathLike[str]) -> Snapshot:
    """Read a snapshot by its solver state or its manifest.

    One of Caffe's own, without a manifest, is taken as it is (`verified` False); its weights are looked for where the
    state says, relative to the working directory as in Caffe, then beside the state.
    Raises NetcError F110 (missing), F111 (its weights are missing), W730-W732 (it is not what was saved) and those of
    `weights.read_solverstate`.
    """
    given = Path(path)
    manifest = _manifest_of(given)
    if manifest == given or manifest.exists():
        return _verified(manifest)
    state = weights.read_solverstate(given)
    return _snapshot(state, _weights_of(given, state.learned_net), {}, False, given)


def _snapshot(state: weights.SolverState, model: Path, extras: dict[str, Any], verified: bool, path: Path) -> Snapshot:
    if not (0 <= state.iteration < 1 << 31 and 0 <= state.current_step < 1 << 31):
        message = f"a state of iteration {state.iteration} after {state.current_step} steps of the rate"
        raise NetcError("W702", message, Place(str(path)), "copy the file again")
    fields = (state.iteration, state.history, state.current_step, state.learned_net)
    return Snapshot(*fields, model, extras, verified, path)


def latest(
    prefix: str | os.PathLike[str],
    damaged: Callable[[NetcError], None] | None = None,
    of: Callable[[Any], bool] = lambda owner: True,
) -> Snapshot | None:
    """The newest whole snapshot with this prefix, or None. `damaged` is told of each newer one that is not whole. `of`
    says of the id of a run (None: it has none) whether its snapshots count.
    Files without a manifest are none: Caffe's own, or what a save leaves that was killed before its end."""
    for manifest in reversed(manifests(prefix)):
        try:
            if of(read_manifest(manifest).extras.get("run")):
                return _verified(manifest)
        except NetcError as error:
            if damaged is not None:
                damaged(error)
    return None


def manifests(prefix: str | os.PathLike[str]) -> list[Path]:
    """The manifests with this prefix, whole or not, by their iteration."""
    folder, name = Path(prefix).parent, Path(prefix).name
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [(re.fullmatch(re.escape(name) + _NAME, entry), entry) for entry in os.listdir(folder)]
        return [folder / entry for _, entry in sorted((int(match[1]), entry) for match, entry in found if match)]
    return []


# -- saving ------------------------------------------------------------------------------------------------------------


def _model_chunks(net: Any, arrays: Any, diffs: Any, format: str) -> Iterator[Chunk]:
    if format != "HDF5":
        return caffemodel_chunks(trained_net(net), arrays, diffs)
    every = {layer.name: arrays.get(layer.name, ()) for layer in net.layer}
    return iter([hdf5_image(every, diffs and {name: diffs.get(name, ()) for name in every})])


def _state_chunks(state: SolverState, format: str) -> Iterator[Chunk]:
    if format != "HDF5":
        return solverstate_chunks(state)
    return iter([hdf5_state_image(state)])


def _hidden_chunks(hidden: Mapping[str, Sequence[Array]]) -> Iterator[Chunk]:
    every = [(number, name, index) for number, name in enumerate(hidden) for index in range(len(hidden[name]))]
    blobs = {f"{number}.{index}": (name, index) for number, name, index in every}
    return safetensors_chunks({key: hidden[name][index] for key, (name, index) in blobs.items()}, blobs)


def _commit(
    prefix: Path, manifest: Path, parts: Mapping[Path, list[Chunk]], iteration: int, extras: dict[str, Any]
) -> None:
    """Write all, then rename all: until the manifest has its name, the snapshot does not exist."""
    need = sum(len(chunk) for chunks in parts.values() for chunk in chunks)
    explain = partial(_write_error, folder=prefix.parent, need=need)
    take_back(prefix)
    try:
        _require_own(manifest, parts)
    except OSError as error:
        raise explain(error) from error
    new = [path for path in parts if not os.path.lexists(path)]
    try:
        with Staging(manifest, explain, re.escape(prefix.name) + _NAME) as staging:
            require_room(prefix.parent, need)
            digests = {path.name: staging.write(path, chunks) for path, chunks in parts.items()}
            text = Manifest(iteration, list(digests), digests, extras).text()
            staging.write(manifest, [text.encode()])
            staging.publish()
    except BaseException:
        if not os.path.lexists(manifest):
            _unlink(new)
        raise


def take_back(prefix: Path) -> None:
    """Remove the half of a snapshot that a killed process has renamed: nothing would vouch for it any more."""
    with suppress(OSError):
        for folder in stale(prefix.parent, re.escape(prefix.name) + _NAME):
            name = folder.name[1 : folder.name.rindex(".tmp-")]
            if os.path.lexists(prefix.with_name(name)):
                continue
            with suppress(NetcError):
                digests = read_manifest(folder / name).files
                files = [(prefix.with_name(file), digest) for file, digest in digests.items()]
                _unlink([path for path, digest in files if path.is_file() and digest_of(path, digest.size) == digest])


def _unlink(paths: list[Path]) -> None:
    with suppress(OSError):
        for path in paths:
            path.unlink(missing_ok=True)


def strangers(prefix: Path) -> list[tuple[int, Path]]:
    """Files called like this prefix's snapshots that netc did not write, with their iteration."""
    pattern = re.compile(
        re.escape(prefix.name)
        + r"_iter_(\d+)\.(?:(?:caffemodel|solverstate)(?:\.h5)?|hidden\.safetensors|manifest\.json)"
    )
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [
            (match, prefix.with_name(name)) for name in os.listdir(prefix.parent) if (match := pattern.fullmatch(name))
        ]
        return sorted((int(match[1]), path) for match, path in found if not _is_own(path))
    return []


def _is_own(path: Path) -> bool:
    """A manifest, or a file beside one: the names are taken as netc's, damaged or not. A link never is."""
    manifest = _beside(path)
    return not path.is_symlink() and (path == manifest or path.is_file()) and is_manifest(manifest)


def _require_own(manifest: Path, parts: Iterable[Path]) -> None:
    for path in (*parts, manifest):
        if os.path.lexists(path) and not _is_own(path):
            raise in_the_way(path)


def in_the_way(path: Path, place: Place | None = None) -> NetcError:
    """O702 for a file that a snapshot would replace."""
    why = "is a link" if path.is_symlink() else "is there already, and netc did not write it"
    hint = "move it away, or set another snapshot_prefix; earlier snapshots are untouched"
    return NetcError("O702", f"{path} {why}: the snapshot is not saved over it", place or Place(str(path)), hint)


def require_room(folder: Path, need: int) -> None:
    """Raises NetcError X701 unless `need` bytes are free where `folder` lies (or OSError if there is none)."""
    free = free_bytes(folder)
    if free < need:
        raise NetcError(
            "X701",
            f"a snapshot takes {need:,} bytes, but only {free:,} are free; it is not saved",
            Place(str(folder)),
            "free some space, or set snapshot_prefix to another disk; earlier snapshots are untouched",
        )


def _write_error(error: OSError, folder: Path, need: int) -> NetcError:
    """What the system said, as an error with the room there is."""
    message = f"the snapshot cannot be written: {error.strerror or error}"
    where, kept = Place(str(folder)), "earlier snapshots are untouched"
    if error.errno in NO_PLACE:
        return NetcError("O701", message, where, f"check snapshot_prefix and its folder; {kept}")
    free = free_text(folder)
    if error.errno in FULL:
        hint = f"free some space, or set snapshot_prefix to another disk; {kept}"
        return NetcError("X701", f"{message}; it takes {need:,} bytes, {free} are free", where, hint)
    hint = f"check the disk (dmesg names it), or set snapshot_prefix to another one; {kept}"
    return NetcError("X702", f"{message} ({need:,} bytes, {free} free)", where, hint)


# -- loading -----------------------------------------------------------------------------------------------------------


def _manifest_of(path: Path) -> Path:
    if path.name.endswith(".manifest.json"):
        return path
    return path.with_name(re.sub(r"\.solverstate(\.h5)?$", "", path.name) + ".manifest.json")


def _beside(path: Path) -> Path:
    """The manifest of a file of a snapshot, whichever it is."""
    name = path.name.replace(".caffemodel", ".solverstate")
    return _manifest_of(path.with_name(name.removesuffix(HIDDEN) + ".solverstate" if name.endswith(HIDDEN) else name))


def _verified(path: Path) -> Snapshot:
    manifest = read_manifest(path)
    model, state, *hidden = every = [path.with_name(name) for name in manifest.names]
    if {_beside(file) for file in every} != {path}:
        raise _copied(path, f"it is the manifest of {state.name}")
    for file in every:
        _check(file, manifest.files[file.name], path)
    found = weights.read_solverstate(state)
    if found.iteration != manifest.iteration:
        raise _copied(path, f"{state.name} holds iteration {found.iteration}, the manifest says {manifest.iteration}")
    return replace(_snapshot(found, model, manifest.extras, True, state), hidden=hidden[0] if hidden else None)


def _copied(manifest: Path, message: str) -> NetcError:
    hint = "a snapshot goes by the names that it was saved under: give that one, or copy its files as they are"
    return NetcError("W733", f"this is not a snapshot of its own: {message}", Place(str(manifest)), hint)


def _check(file: Path, expected: Digest, manifest: Path) -> None:
    hint = "use an earlier snapshot (`--resume auto` finds it); if the file was changed on purpose, remove the manifest"
    try:
        found = digest_of(file, expected.size)
    except FileNotFoundError:
        raise NetcError("W731", f"the snapshot lacks its file {file.name}", Place(str(manifest)), hint) from None
    except OSError as error:
        raise NetcError("X110", f"cannot be read: {error.strerror or error}", Place(str(file))) from None
    if found != expected:
        what = (
            f"{found.size:,} bytes instead of {expected.size:,}" if found.size != expected.size else "another SHA-256"
        )
        raise NetcError("W732", f"the file is not what was saved: it has {what}", Place(str(file)), hint)


def _weights_of(state: Path, learned_net: str) -> Path:
    name = Path(learned_net).name  # "" of "", "." and "/"
    tried = [Path(learned_net), state.with_name(name)] if name else []
    for path in tried:
        if os.path.isfile(path):  # as Path.is_file, but a name too long is one that is not there
            return path
    places = " nor ".join(dict.fromkeys(str(path.absolute()) for path in tried)) if tried else "(it names no file)"
    raise NetcError(
        "F111",
        f"the weights that belong to this solver state are not there: neither {places}",
        Place(str(state)),
        "put the .caffemodel beside the .solverstate",
    )

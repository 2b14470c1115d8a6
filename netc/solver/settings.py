"""What must hold of a solver before anything is built: every violation is reported at its place, all at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netc.errors import NetcError, did_you_mean, raise_all
from netc.errors.origin import Origin
from netc.solver.policies import POLICIES
from netc.upgrade import SOLVER_TYPES

TRAIN_NETS = ("net", "net_param", "train_net", "train_net_param")

HISTORIES = dict.fromkeys(SOLVER_TYPES, 1) | {"AdaDelta": 2, "Adam": 2}
"""Arrays of memory that an update rule keeps for each parameter."""

VELOCITY = frozenset({"SGD", "Nesterov"})
"""Update rules whose memory is the same: the velocity, with the rate in it. No two others share a meaning: squares that
add up (AdaGrad) or fade (RMSProp), squares of gradients and of updates (AdaDelta), means of gradients and of their
squares (Adam)."""

Found = Iterator[tuple[str, str, str, str | None]]
"""(code, message, field, hint) of each violation."""


def prefix(param: Any, solver_path: str) -> Path:
    """What the names of snapshots begin with: snapshot_prefix, the solver's name inside it where that is a folder, and
    the solver's path without its ending where it is not set."""
    own = Path(solver_path if not solver_path.startswith("<") else "solver")
    if not param.snapshot_prefix:
        return own.with_suffix("")
    given = Path(param.snapshot_prefix)
    return given / own.stem if given.is_dir() or param.snapshot_prefix.endswith("/") else given


def check(param: Any, origin: Origin) -> None:
    """Raise the NetcErrors R610-R619 of a SolverParameter that Caffe would abort on, or train garbage with."""
    found: list[NetcError] = []
    for part in (_nets, _numbers, _policy, _plateau, _rule, _counts):
        found += [NetcError(code, message, origin.place(field), hint) for code, message, field, hint in part(param)]
    raise_all(found)


def _nets(param: Any) -> Found:
    given = [name for name in TRAIN_NETS if param.HasField(name)]
    if not given:
        yield "R610", f"there is no net to train: none of {', '.join(TRAIN_NETS)} is set", "", 'add net: "….prototxt"'
    elif len(given) > 1:
        yield "R610", f"the solver names {len(given)} nets to train: {', '.join(given)}", given[1], "keep one of them"
    own = len(param.test_net) + len(param.test_net_param)
    shared = param.HasField("net") or param.HasField("net_param")
    wanted = len(param.test_iter)
    if wanted < own or (wanted > own and not shared):
        yield (
            "R611",
            f"test_iter is given {wanted} times for {own} test net(s)",
            "test_iter" if wanted else "test_net" if param.test_net else "test_net_param",
            "give one for each; a test of the solver's own `net` may do without, and takes the whole set",
        )
    count = test_net_count(param)
    if len(param.test_state) not in (0, count):
        yield (
            "R611",
            f"test_state is given {len(param.test_state)} times for {count} test net(s)",
            "test_state",
            "leave it out, or give one for each",
        )
    if (wanted or own) and param.test_interval <= 0:
        yield (
            "R611",
            "there are test nets, but test_interval is not set",
            "test_iter" if wanted else "test_net",
            "add test_interval: how many iterations lie between two tests",
        )


def test_net_count(param: Any) -> int:
    """Test nets of their own plus instances of the shared net: as many as test_iter asks for, one if it is absent."""
    own = len(param.test_net) + len(param.test_net_param)
    if param.test_iter:
        return len(param.test_iter)
    shared = param.HasField("net") or param.HasField("net_param")
    return own + (shared and param.test_interval > 0 and max(1, len(param.test_state) - own))


def _numbers(param: Any) -> Found:
    if not math.isfinite(param.base_lr):
        yield "R613", f"base_lr must be a finite number, not {param.base_lr:g}", "base_lr", None
    for name in ("momentum", "weight_decay"):
        if not math.isfinite(getattr(param, name)):
            yield "R614", f"{name} must be a finite number, not {getattr(param, name):g}", name, None


def _policy(param: Any) -> Found:
    policy, hint = param.lr_policy, f"one of {', '.join(POLICIES)}"
    if not policy:
        yield "R612", "lr_policy is not set", "", hint
        return
    if policy not in POLICIES:
        yield "R612", f'unknown lr_policy "{policy}"{did_you_mean(policy, POLICIES)}', "lr_policy", hint
        return
    if "gamma" in POLICIES[policy].reads and policy != "plateau" and param.gamma < 0:
        hint = "the rate is multiplied by gamma: 0.1 divides it by 10"
        yield "R613", f'lr_policy "{policy}" needs gamma >= 0, not {param.gamma:g}', "gamma", hint
    if "stepsize" in POLICIES[policy].reads and param.stepsize <= 0:
        field = "stepsize" if param.HasField("stepsize") else "lr_policy"
        hint = "add `stepsize: …`, the iterations between two drops of the rate" if policy == "step" else "set stepsize"
        yield "R613", f'lr_policy "{policy}" needs stepsize > 0, not {param.stepsize}', field, hint


def _plateau(param: Any) -> Found:
    if param.lr_policy != "plateau":
        return
    if not 0 < param.gamma < 1:
        message = f'lr_policy "plateau" needs 0 < gamma < 1, not {param.gamma:g}'
        yield "R613", message, "gamma", "the paper divides by 10: gamma: 0.1"
    if param.test_interval <= 0:
        yield "R613", 'lr_policy "plateau" watches a test output: test_interval must be set', "lr_policy", None
    elif param.plateau_param.test_net >= test_net_count(param):
        yield (
            "R613",
            f"there is no test net #{param.plateau_param.test_net}",
            "plateau_param.test_net",
            f"the solver has {test_net_count(param)}, counted from 0",
        )

    if param.plateau_param.patience < 1:
        message = f"patience must be at least 1, not {param.plateau_param.patience}"
        yield "R613", message, "plateau_param.patience", "how many tests in a row bring no improvement before a drop"
    if not 0 <= param.plateau_param.min_delta < math.inf:
        message = f"min_delta must be a number >= 0, not {param.plateau_param.min_delta:g}"
        yield "R613", message, "plateau_param.min_delta", "0 counts any improvement; goal says which way is better"


def _rule(param: Any) -> Found:
    if param.type not in SOLVER_TYPES:
        hint = f"one of {', '.join(SOLVER_TYPES)}"
        yield "R614", f'unknown solver type "{param.type}"{did_you_mean(param.type, SOLVER_TYPES)}', "type", hint
    if param.type in {"AdaGrad", "RMSProp"} and param.momentum != 0:
        yield "R614", f"{param.type} has no momentum, but momentum is {param.momentum:g}", "momentum", "remove momentum"
    if param.type == "RMSProp" and not 0 <= param.rms_decay < 1:
        yield "R614", f"rms_decay must lie in [0, 1), not {param.rms_decay:g}", "rms_decay", None
    if param.type == "Adam" and not (0 <= param.momentum < 1 and 0 <= param.momentum2 < 1):
        field = "momentum" if not 0 <= param.momentum < 1 else "momentum2"
        yield "R614", "Adam needs momentum and momentum2 in [0, 1)", field, None
    if param.weight_decay and param.regularization_type not in {"L1", "L2"}:
        message = f'unknown regularization_type "{param.regularization_type}"'
        yield "R614", message, "regularization_type", 'it is "L2" or "L1"'


def _counts(param: Any) -> Found:
    if param.average_loss < 1:
        yield "R615", f"average_loss must be at least 1, not {param.average_loss}", "average_loss", None
    if param.max_iter < 0:
        yield "R615", f"max_iter must not be negative, as {param.max_iter} is", "max_iter", "0 trains nothing"

"""SolverParameter: the enum `solver_type` → `type`, the name of the update rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netc.errors import NetcError, Place

SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
"""Names of the old enum SolverType, by number."""


def upgrade_solver(given: Any, place: Callable[[str], Place]) -> Any:
    """The same solver in the current format, a message of its own. Raises NetcError U110 where the type is given in
    both ways."""
    param = type(given)()
    param.CopyFrom(given)
    if not param.HasField("solver_type"):
        return param
    if param.HasField("type"):
        raise NetcError(
            "U110", 'give "type" or the old "solver_type", not both', place("solver_type"), "remove solver_type"
        )
    param.type = SOLVER_TYPES[param.solver_type]
    param.ClearField("solver_type")
    return param

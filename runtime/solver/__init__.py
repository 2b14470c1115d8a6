"""Training: Caffe's solver on torch. `load_solver` is what `netc.load_solver` calls.

Imported on first use: what a solver says can be checked (`settings`, `plans`) without torch.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Solver", "load_solver"]

if TYPE_CHECKING:
    from netc.runtime.solver.solver import Solver as Solver
    from netc.runtime.solver.solver import load_solver as load_solver


def __getattr__(name: str) -> Any:
    if name in __all__:
        from netc.runtime.solver import solver

        return getattr(solver, name)
    raise AttributeError(f"module 'netc.runtime.solver' has no attribute {name!r}")

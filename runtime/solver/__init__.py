"""Training: Caffe's solver on torch. `load_solver` is what `netc.load_solver` calls."""

from netc.runtime.solver.solver import Solver as Solver
from netc.runtime.solver.solver import load_solver as load_solver

__all__ = ["Solver", "load_solver"]

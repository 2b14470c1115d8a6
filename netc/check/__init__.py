"""What can be said of nets and solvers without running them.

The package can be called: `netc.check(path)` is `netc.check.examine.check`, what `netc check` prints as a `Report`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Check(ModuleType):
    def __call__(self, path: Any, *args: Any, **options: Any) -> Any:
        """Everything that can be said of a net or solver without running it. `netc.check.examine.check` has the
        arguments: path, phase, level, stages, shapes, allow_python_layers."""
        from netc.check.examine import check

        return check(path, *args, **options)


sys.modules[__name__].__class__ = _Check

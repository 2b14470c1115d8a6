"""A net as one readable PyTorch file: `netc emit`.

    >>> from netc.look.emit import emit
    >>> print(emit(netc.compile_net("deploy.prototxt", phase="TEST")).code)

Nothing here imports torch: it writes text. `registry.py` says how a layer type gets its emitter.
"""

from __future__ import annotations

from netc.look.emit.source import Emission as Emission
from netc.look.emit.source import emit as emit

__all__ = ["Emission", "emit"]

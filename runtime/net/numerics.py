"""What numbers depend on besides files and seeds, and torch keeps for the whole process.

It is set here and nowhere else, by every way in: `netc.load_net`, `netc.load_solver`, and the commands that compute.
Importing netc sets nothing. A program that wants other settings makes them after it has loaded its nets.
"""

from __future__ import annotations

import warnings
from typing import Any


def settle(threads: int | None = None, precision: str = "fp32") -> None:
    """Make results repeatable, and the same from Python and from the command line.

    cuDNN takes deterministic algorithms, and tries none out by their speed: a resumed run is bit-exact on a GPU, too.
    TF32, products with 10 bits of mantissa that torch allows in convolutions, is off unless the `precision` is "tf32".
    `threads`: of the CPU, None leaves them; sums are added up in another order with another number. Raises NetcError
    R700 for a precision that there is not.
    """
    import torch

    from netc.runtime.net.computing import TF32, check_precision

    check_precision(precision)
    tf32 = precision == TF32
    if threads is not None:
        torch.set_num_threads(threads)
    cudnn: Any = torch.backends.cudnn
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32 = tf32
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32" if tf32 else "ieee"  # goes before backends'
    silence_pillow()


def silence_pillow() -> None:
    """No warnings of Pillow's about pictures (damaged EXIF, odd tags, large sizes): many threads decode, where warnings
    cannot be caught, and a picture that cannot be read is an error of netc's."""
    warnings.filterwarnings("ignore", module=r"PIL\.")

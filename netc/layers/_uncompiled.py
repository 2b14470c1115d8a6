"""Functions that torch's compiler leaves alone, without loading it: `torch.compiler.disable` alone takes a third of
the start of every command."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """`torch.compiler.disable`, from the moment on at which something is compiled."""
    skipped: list[Any] = []

    @functools.wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **settings)
        if not skipped:
            skipped.append(torch.compiler.disable(function))
        return skipped[0](*args, **settings)

    vars(call)["_torchdynamo_disable"] = True  # the compiler's own mark
    return call  # type: ignore[return-value]

"""Whether torch can compute where it is asked to."""

from __future__ import annotations

import torch

from netc.errors import NetcError, printable


def check_device(device: str | torch.device) -> None:
    """Raises NetcError C251 for what names no device, C201 for one that is not here."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        hint = 'say "cpu", "cuda" or, of several GPUs, "cuda:1"; netc device_query lists what is here'
        raise NetcError("C251", f"there is no device {printable(repr(device))}", None, hint) from None
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        hint = 'device="cpu" computes without one' if not count else "GPUs count from 0: netc device_query lists them"
        seen = "no GPU" if not count else f"{count}"
        raise NetcError("C201", f'device="{found}": torch sees {seen} here', None, hint)
    if found.type not in ("cpu", "cuda", "meta"):
        _try(found)


def _try(device: torch.device) -> None:
    """Of a kind of device that only some builds of torch have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise NetcError(
            "C201", f'device="{device}": torch cannot use it here: {reason}', None, "say cpu or cuda"
        ) from None

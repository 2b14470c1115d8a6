"""Nets and solvers compared by what they mean, not by how they are written."""

from __future__ import annotations

from netc.look.diff.compare import NETS, Effect, FieldChange, LayerChange, NetDiff, compare_nets, compare_solvers

__all__ = ["NETS", "Effect", "FieldChange", "LayerChange", "NetDiff", "compare_nets", "compare_solvers"]

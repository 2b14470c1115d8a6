"""Nets and solvers compared by what they mean, not by how they are written."""

"""Random inputs for whatever reads a file that somebody else wrote; `python -m tools.fuzz` runs it."""

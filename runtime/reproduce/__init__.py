"""The paper's tables, measured: rows, the miniature, and what is said of both."""

"""A graph as a picture, a difference, or code."""

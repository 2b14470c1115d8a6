"""The compiler's stages, from the layers of a file to the checked graph."""

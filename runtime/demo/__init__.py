"""The demonstration: a small set of pictures drawn on the spot, and the run that learns it."""

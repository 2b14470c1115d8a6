"""Files: whole-or-nothing writing, what a name means, hashing, the wire format."""

"""The emitters, a few types a file. Importing `netc.emit.registry.emitters()` finds them all."""

"""The emitters, a few types a file. Importing `netc.look.emit.registry.emitters()` finds them all."""

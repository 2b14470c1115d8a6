"""The machine: a checked graph → numbers. Imported as netc.runtime; torch is imported by the modules that need it."""

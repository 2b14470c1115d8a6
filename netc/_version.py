"""The one place the version stands: read by the build, by `netc.__version__` and by `netc --version`."""

__version__ = "0.1.0"

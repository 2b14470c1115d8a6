"""Deep features for other data sets (appendix B): the sets as their authors ship them, and linear classifiers."""

from netc.runtime.transfer.measure import run as run

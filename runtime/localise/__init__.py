"""Localisation (the paper's appendix A): boxes, how they are merged and judged, and the nets that predict them."""

"""Graph to graph, net to net: rewrites that keep the meaning."""

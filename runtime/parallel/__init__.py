"""Training by several processes: what a shard of a batch is, who computes which, and how gradients are summed."""

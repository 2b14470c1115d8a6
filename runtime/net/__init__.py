"""A graph as a torch.nn.Module: the walk, its clock, fillers and random numbers."""

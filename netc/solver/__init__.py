"""The half of the solver that needs no torch: settings, rate policies, and which nets it means."""

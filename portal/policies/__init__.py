"""Policies: what IT may put on the work side of a personal device, and what of it would be of no use."""

"""How fast the portal is, beside the floor of the same machine."""

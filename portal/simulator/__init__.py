"""A simulated iPhone and its owner, for the demo and the tests. They speak only HTTP to the portal."""

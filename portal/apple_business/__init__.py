"""Apple Business (formerly Apple Business Manager): the server token of this portal there, and what it vouches for."""

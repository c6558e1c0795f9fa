"""Work apps: who gets which, with a license of their own, and what became of each on a device."""

"""What becomes of people here: they are invited, disabled, erased; they left the company."""

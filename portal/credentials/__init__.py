"""Corporate sign-in: where usernames and passwords are checked, and how tries are counted."""

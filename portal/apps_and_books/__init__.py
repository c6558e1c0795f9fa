"""Apple's Apps and Books: the licenses that an organization has for apps, and the store that knows the apps."""

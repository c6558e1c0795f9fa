"""The heart: requests, the journey, the profile. Knows no Flask, no HTTP, no HTML, no concrete backend."""

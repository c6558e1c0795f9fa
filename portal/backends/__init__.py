"""Device management backends behind one Protocol."""

from portal.backends.base import Backend
from portal.settings import Settings


def open_backend(settings: Settings, topic: str) -> Backend:
    """The configured backend."""
    from portal.backends.embedded import EmbeddedBackend

    return EmbeddedBackend(settings, topic)

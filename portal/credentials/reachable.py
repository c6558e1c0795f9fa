"""Whether the sources of credentials can be reached: for ``/readyz``, and step by step for ``credentials check``."""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from portal.credentials.base import SourceUnavailable

if TYPE_CHECKING:
    from portal.credentials.directory import Directory
    from portal.credentials.oidc import Provider

KEPT_SECONDS = 30.0
WAIT_SECONDS = 2.0


class Reachable:
    """Looks at the sources, and keeps what it saw for half a minute."""

    def __init__(self, directory: "Directory | None", providers: "Iterable[Provider]") -> None:
        self._directory = directory
        self._providers = tuple(providers)
        self._seen: tuple[float, SourceUnavailable | None] | None = None
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises SourceUnavailable with the first thing that was wrong when somebody looked last.

        Looking is done by a thread of its own; whoever asks waits for it a moment at the most, since a source that
        hangs must not hold those who serve pages.
        """
        stale = self._seen is None or time.monotonic() - self._seen[0] >= KEPT_SECONDS
        if stale and self._lock.acquire(blocking=False):
            looking = threading.Thread(target=self._keep, daemon=True)
            looking.start()
            looking.join(WAIT_SECONDS)
        if self._seen is None:
            raise SourceUnavailable("timeout", "not looked at yet")
        if self._seen[1] is not None:
            raise self._seen[1]

    def _keep(self) -> None:
        try:
            self._seen = (time.monotonic(), self._probe())
        finally:
            self._lock.release()

    def steps(self, username: str | None) -> Iterator[str]:
        """What works, one line a step. Raises SourceUnavailable where it stops."""
        yield "local accounts: always"
        if self._directory is not None:
            yield from (f"directory: {line}" for line in self._directory.probe(username))
        for provider in self._providers:
            provider.metadata()
            yield f"single sign-on {provider.settings.name}: {provider.settings.issuer} answers as it should"

    def _probe(self) -> SourceUnavailable | None:
        try:
            for _ in self.steps(None):
                pass
        except SourceUnavailable as problem:
            return problem
        return None

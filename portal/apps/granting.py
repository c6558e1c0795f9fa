"""An app that somebody gets, or may take."""

from dataclasses import dataclass

from portal.models import App


@dataclass(frozen=True, slots=True)
class GrantedApp:
    """``by_itself``: it comes without being asked for; ``chosen``: they took what was offered."""

    app: App
    by_itself: bool
    chosen: bool

    @property
    def wanted(self) -> bool:
        """Whether it is to be on their devices."""
        return self.by_itself or self.chosen

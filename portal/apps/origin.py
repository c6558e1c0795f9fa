"""Where an app comes from, as somebody enters it: Apple's App Store, or an in-house app's manifest."""

from dataclasses import dataclass

LONGEST_ADDRESS = 500
LONGEST_ADAM_ID = 20


class OriginRefused(Exception):
    """What was entered names no app; ``code``: nothing, adam_id, manifest_url."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an app comes from: one of both."""

    adam_id: str | None = None
    manifest_url: str | None = None


def entered(adam_id: str, manifest_url: str) -> Origin:
    """The one that was entered: an App Store id, also as the app's address there, or a manifest's https address.

    Raises OriginRefused.
    """
    adam_id = adam_id.strip().rpartition("/id")[2].partition("?")[0]
    address = manifest_url.strip()
    if bool(adam_id) == bool(address):
        raise OriginRefused("nothing")
    if adam_id:
        if not (adam_id.isascii() and adam_id.isdecimal() and len(adam_id) <= LONGEST_ADAM_ID):
            raise OriginRefused("adam_id")
        return Origin(adam_id=adam_id)
    if not address.startswith("https://") or len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise OriginRefused("manifest_url")
    return Origin(manifest_url=address)

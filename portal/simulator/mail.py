"""Reading the demo's mail, as its employees would."""

import re
import time
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path

PATIENCE_SECONDS = 15.0


class NoMail(Exception):
    """No mail with a passcode arrived."""


def demo_mail(data: Path) -> Callable[[str], str]:
    """A function that waits for the newest passcode mailed to an address that begins like this. Raises NoMail.

    ``data``: the data folder of a demo, where mail is written as files.
    """

    def passcode(address: str) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for path in sorted((data / "outbox").glob("*.eml"), reverse=True):
                mail = message_from_bytes(path.read_bytes(), policy=policy.default)
                body = mail.get_body(("plain",))
                found = re.search(r"^(\d{6})\r?$", body.get_content() if body else "", re.MULTILINE)
                if found and str(mail["To"]).startswith(address):
                    return found[1]
            time.sleep(0.1)
        raise NoMail("the mail with the passcode did not arrive")

    return passcode

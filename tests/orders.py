"""A simulated phone's commands, one by one: fetched without being answered, answered otherwise than it would."""

import plistlib
from collections.abc import Callable
from typing import Any

from portal.simulator.iphone import CONNECT_TYPE, IPhone


def fetch(held: IPhone) -> dict[str, Any] | None:
    """The next command, if there is one; it is not answered yet."""
    given = held._send(held.mdm["ServerURL"], CONNECT_TYPE, {"Status": "Idle"})
    return plistlib.loads(given.content, fmt=plistlib.FMT_XML) if given.content else None


def fetch_one(work: Callable[[], object], held: IPhone, kind: str) -> dict[str, Any]:
    """The next command of a kind, when the worker did its ``work``; those before it are obeyed."""
    for _ in range(8):
        work()
        order = fetch(held)
        while order and order["Command"]["RequestType"] != kind:
            answer(held, order)
            order = fetch(held)
        if order:
            return order
    raise AssertionError(f"no {kind} came")


def answer(held: IPhone, order: dict[str, Any], **instead: Any) -> Any:
    """What the phone says to a command: what it does, or this ``instead``."""
    done = instead or held.obey(order["Command"])
    return held._send(held.mdm["ServerURL"], CONNECT_TYPE, {"CommandUUID": order["CommandUUID"], **done})

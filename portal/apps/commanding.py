"""Commands about work apps, as a device gets them.

Facts: Apple, "InstallApplication", "RemoveApplication", "ManagedApplicationList", "Settings"; in user enrollment
``PurchaseMethod`` is 1.
"""

import logging
from typing import Any

from portal.apps import behaviour, progress
from portal.apps.behaviour import NOT_IN_BACKUPS, REMOVED_WITH_ENROLLMENT
from portal.enrollment import allowed, commands
from portal.enrollment.case import Case
from portal.enrollment.errors import CommandForbidden
from portal.models import Command
from portal.policies.variables import Recipient

INSTALL, REMOVE, LIST, CONFIGURE = "InstallApplication", "RemoveApplication", "ManagedApplicationList", "Settings"
CANNOT_BE_MADE = "cannot_be_made"
"""Its configuration for this person cannot be sent."""

log = logging.getLogger("portal.apps")


def filled(case: Case, command: Command) -> bytes | None:
    """A command about an app as it is sent: configured as it is now. None if it is not wanted, or cannot be.

    A device that is not served any more gets none that was on its way; if it is again, the next step is looked for.
    """
    row = progress.row_of(case, command)
    if row is None:
        return None
    if row.wanted == (command.request_type == REMOVE) or not case.known_device.is_served:
        progress.look_now(case, row)
        return None
    if command.request_type == REMOVE:
        return command.payload
    app = case.store.apps({row.app_id})[row.app_id]
    held = behaviour.of(app, case.vault)
    recipient, request = case.request.person, case.request
    who = Recipient(recipient.email, request.managed_apple_account or "", recipient.username, recipient.name)
    configuration = {"Configuration": held.configured_for(who)} if held.configuration else {}
    attributes = {"Attributes": found} if (found := held.attributes()) else {}
    row.version = app.version
    if command.request_type == INSTALL:
        keys: dict[str, Any] = {"ManagementFlags": REMOVED_WITH_ENROLLMENT | NOT_IN_BACKUPS}
        keys |= {"iTunesStoreID": int(app.adam_id), "Options": {"PurchaseMethod": 1}} if app.adam_id else {}
        keys |= {"ManifestURL": app.manifest_url} if app.manifest_url else {}
        keys |= configuration | attributes
    else:  # what is left out is taken away
        named = {"Identifier": app.bundle_id}
        items = ("ApplicationConfiguration", configuration), ("ApplicationAttributes", attributes)
        keys = {"Settings": [{"Item": item, **named, **its} for item, its in items]}
    try:
        return commands.with_keys(command, allowed.command(command.request_type, keys))
    except CommandForbidden:  # a person's name that no property list can carry, for one
        log.exception("apps.cannot_be_made app=%s", row.app_id)
        if command.request_type == INSTALL:
            progress.failed(case, row, app, CANNOT_BE_MADE)
        else:
            row.reason = CANNOT_BE_MADE
        return None

"""What can happen, by name: every event that the audit trail records, with who does it and what people call it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from portal.wording import N_


class Actor(StrEnum):
    """Who did something, if it was nobody of staff (they are ``role:id``) and no program (``token:id``)."""

    EMPLOYEE = "employee"
    DEVICE = "device"
    SYSTEM = "system"
    SETUP = "setup"
    COMMAND = "command"
    DIRECTORY = "directory"
    """It said that an account is closed."""
    RELEASED = "released"
    """What the brake held, and two admins released."""


class Event(StrEnum):
    """``actor`` is who does it unless somebody is named; ``words`` what people read, not translated yet."""

    actor: Actor
    words: str

    def __new__(cls, code: str, words: str, actor: Actor = Actor.SYSTEM) -> "Event":
        """One kind of event."""
        event = str.__new__(cls, code)
        event._value_ = code
        event.words, event.actor = words, actor
        return event

    REQUEST_CREATED = "request.created", N_("Request created")
    REQUEST_SENT_AGAIN = "request.sent_again", N_("Invitation sent again")
    REQUEST_TEXTED = "request.texted", N_("Sent by text message")
    REQUEST_EXTENDED = "request.extended", N_("Request extended")
    REQUEST_UNLOCKED = "request.unlocked", N_("Unlocked")
    REQUEST_HANDED_OVER = "request.handed_over", N_("Handed over")
    REQUEST_QR_SHOWN = "request.qr_shown", N_("QR code shown")
    REQUEST_CANCELLED = "request.cancelled", N_("Request cancelled")
    REQUEST_REFUSED = "request.refused", N_("Request refused")

    SIGN_IN_ACCEPTED = "sign_in.accepted", N_("Signed in"), Actor.EMPLOYEE
    SIGN_IN_REFUSED = "sign_in.refused", N_("Sign-in refused"), Actor.EMPLOYEE

    BROWSER_UNFIT = "browser.unfit", N_("Opened in the wrong browser"), Actor.EMPLOYEE

    OWNERSHIP_CHOSEN = "ownership.chosen", N_("Ownership chosen"), Actor.EMPLOYEE

    PRIVACY_ACKNOWLEDGED = "privacy.acknowledged", N_("Privacy notice acknowledged"), Actor.EMPLOYEE

    PASSCODE_SENT = "passcode.sent", N_("New passcode sent")
    PASSCODE_REJECTED = "passcode.rejected", N_("Wrong passcode"), Actor.EMPLOYEE
    PASSCODE_VERIFIED = "passcode.verified", N_("Passcode entered"), Actor.EMPLOYEE

    OVERVIEW_SEEN = "overview.seen", N_("Overview read"), Actor.EMPLOYEE

    TERMS_DRAFTED = "terms.drafted", N_("Terms drafted")
    TERMS_DRAFT_DROPPED = "terms.draft_dropped", N_("Draft of the terms dropped")
    TERMS_PUBLISHED = "terms.published", N_("Terms published")
    TERMS_ACCEPTED = "terms.accepted", N_("Terms accepted"), Actor.EMPLOYEE

    PROFILE_ISSUED = "profile.issued", N_("Profile issued"), Actor.EMPLOYEE
    PROFILE_DOWNLOADED = "profile.downloaded", N_("Profile downloaded"), Actor.EMPLOYEE
    PROFILE_REFUSED = "profile.refused", N_("Profile refused")

    HANDOVER_BEGUN = "handover.begun", N_("Handed over to the device management"), Actor.EMPLOYEE
    HANDOVER_REFUSED = "handover.refused", N_("Device management does not take the person")

    CERTIFICATE_ISSUED = "certificate.issued", N_("Certificate issued"), Actor.DEVICE
    CERTIFICATE_REFUSED = "certificate.refused", N_("Certificate refused"), Actor.DEVICE

    DEVICE_WOKEN = "device.woken", N_("Device can be woken again")
    DEVICE_GIVEN_UP = "device.given_up", N_("Given up by staff")
    DEVICE_REMOVAL_HELD = "device.removal_held", N_("Removal of work data held")
    DEVICE_AUTHENTICATED = "device.authenticated", N_("Device recognized"), Actor.DEVICE
    DEVICE_ENROLLED = "device.enrolled", N_("Device enrolled"), Actor.DEVICE
    DEVICE_REFUSED = "device.refused", N_("Device refused"), Actor.DEVICE
    DEVICE_WIPE_ASKED = "device.wipe_asked", N_("Asked to remove work data, which can be undone")
    DEVICE_ASKED_TO_LEAVE = "device.asked_to_leave", N_("Asked to remove everything of work")
    DEVICE_LEFT = "device.left", N_("Enrollment ended"), Actor.DEVICE
    DEVICE_WAITS = "device.waits", N_("Device comes by itself, it cannot be woken")

    TOKEN_GRANTED = "token.granted", N_("Signed in again in Settings")
    TOKEN_REFUSED = "token.refused", N_("Device was sent to sign in again"), Actor.DEVICE
    TOKEN_REVOKED = "token.revoked", N_("Owner has to sign in again")

    COMMAND_FAILED = "command.failed", N_("Command not taken by the device management")
    COMMAND_UNUSABLE = "command.unusable", N_("The device's answer cannot be used"), Actor.DEVICE
    COMMAND_ANSWER_LOST = "command.answer_lost", N_("The answer was lost; asked again where needed")
    COMMAND_ORDERED = "command.ordered", N_("Ordered by staff")
    COMMAND_QUEUED = "command.queued", N_("Command queued")
    COMMAND_ACKNOWLEDGED = "command.acknowledged", N_("Command done"), Actor.DEVICE
    COMMAND_NOT_NOW = "command.not_now", N_("Device said: not now"), Actor.DEVICE
    COMMAND_ERROR = "command.error", N_("Command failed"), Actor.DEVICE
    COMMAND_FORMAT_ERROR = "command.format_error", N_("Command failed"), Actor.DEVICE

    MAIL_SENT = "mail.sent", N_("Mail sent")
    MAIL_DELAYED = "mail.delayed", N_("Mail not delivered yet, it is tried again")
    MAIL_FAILED = "mail.failed", N_("Mail cannot be delivered")

    CAMPAIGN_CHECKED = "campaign.checked", N_("List checked")
    CAMPAIGN_STARTED = "campaign.started", N_("Inviting from a list began")
    CAMPAIGN_PAUSED = "campaign.paused", N_("Inviting from a list paused")
    CAMPAIGN_RUNNING = "campaign.running", N_("Inviting from a list went on")
    CAMPAIGN_CANCELLED = "campaign.cancelled", N_("Inviting from a list cancelled")
    CAMPAIGN_DONE = "campaign.done", N_("Everybody on a list was invited")

    PERSON_ADDED = "person.added", N_("Person added")
    PERSON_CHANGED = "person.changed", N_("Details of a person changed")
    PERSON_ROLE_CHANGED = "person.role_changed", N_("Role changed")
    PERSON_DISABLED = "person.disabled", N_("Person disabled")
    PERSON_ENABLED = "person.enabled", N_("Person enabled again")
    PERSON_ERASED = "person.erased", N_("Person erased")
    PERSON_SYNCED = "person.synced", N_("Person taken over from the directory")

    PEOPLE_IMPORTED = "people.imported", N_("People imported")

    PASSWORD_CHANGED = "password.changed", N_("Password changed")
    PASSWORD_LINK_MADE = "password.link_made", N_("Password link made")

    PASSKEY_ADDED = "passkey.added", N_("Passkey added")
    PASSKEY_REMOVED = "passkey.removed", N_("Passkey removed")

    SECOND_FACTOR_SET_UP = "second_factor.set_up", N_("Second factor set up")
    SECOND_FACTOR_REPLACED = "second_factor.replaced", N_("Second factor replaced")
    SECOND_FACTOR_FORGOTTEN = "second_factor.forgotten", N_("Second factor forgotten")
    SECOND_FACTOR_LOCKED = "second_factor.locked", N_("Second factor locked after 20 wrong codes")
    SECOND_FACTOR_UNLOCKED = "second_factor.unlocked", N_("Second factor released")

    STAFF_SIGNED_IN = "staff.signed_in", N_("Signed in as staff")
    STAFF_SIGN_IN_REFUSED = "staff.sign_in_refused", N_("Staff sign-in refused")

    API_TOKEN_MADE = "api_token.made", N_("API token made")
    API_TOKEN_REVOKED = "api_token.revoked", N_("API token revoked")

    REMOVALS_HELD = "removals.held", N_("Too many removals: held")
    REMOVALS_APPROVED = "removals.approved", N_("An admin agreed to the held removals")
    REMOVALS_RELEASED = "removals.released", N_("Held removals go on")
    REMOVALS_KEPT = "removals.kept", N_("Held removals given up, work data stays")

    SETTINGS_CHANGED = "settings.changed", N_("Settings changed")

    DISCOVERY_CHECKED = "discovery.checked", N_("Service discovery checked")

    POLICY_MADE = "policy.made", N_("Policy begun")
    POLICY_CHANGED = "policy.changed", N_("Policy renamed")
    POLICY_PUBLISHED = "policy.published", N_("Policy published")
    POLICY_STOPPED = "policy.stopped", N_("Trial of a policy stopped")
    POLICY_AUDIENCE = "policy.audience", N_("Who gets a policy changed")
    POLICY_ENDED = "policy.ended", N_("Policy ended")
    POLICY_FAILED = "policy.failed", N_("Policy not taken by the device"), Actor.DEVICE
    APPLE_KEY_MADE = "apple.key", N_("Key for Apple Business made")
    APPLE_TOKEN_SAVED = "apple.token", N_("Server token of Apple Business saved")
    APPLE_TOKEN_FORGOTTEN = "apple.forgotten", N_("Server token of Apple Business forgotten")
    ACCOUNT_VOUCHED = "account.vouched", N_("Sign-in with the Managed Apple Account vouched for"), Actor.DEVICE
    WORK_IDENTITY = "work.identity", N_("Identity for work issued to the device"), Actor.DEVICE
    POLICIES_AGAIN = "policies.again", N_("Policies sent to the device again")
    LIST_SAVED = "policy.list", N_("List of people for policies saved")

    APP_ADDED = "app.added", N_("Work app added")
    APP_CHANGED = "app.changed", N_("Work app changed")
    APP_AUDIENCE = "app.audience", N_("Who gets a work app changed")
    APP_ENDED = "app.ended", N_("Work app taken out")
    APP_CHOSEN = "app.chosen", N_("Work app chosen"), Actor.EMPLOYEE
    APP_ASKED = "app.asked", N_("Asked to install a work app")
    APP_INSTALLED = "app.installed", N_("Work app installed"), Actor.DEVICE
    APP_DECLINED = "app.declined", N_("Work app not wanted by the owner"), Actor.DEVICE
    APP_OWN = "app.own", N_("Owner has the app already, as their own"), Actor.DEVICE
    APP_FAILED = "app.failed", N_("Work app could not be installed"), Actor.DEVICE
    APP_REMOVAL = "app.removal", N_("Asked to remove a work app")
    APP_REMOVED = "app.removed", N_("Work app removed"), Actor.DEVICE
    APP_NOT_REMOVED = "app.not_removed", N_("Work app could not be removed"), Actor.DEVICE
    APP_AGAIN = "app.again", N_("Work app sent to the device again")
    LICENSES_TOKEN_SAVED = "licenses.token", N_("Content token of Apps and Books saved")
    LICENSES_CLAIMED = "licenses.claimed", N_("Location of Apps and Books claimed for this portal")
    LICENSES_EXPIRING = "licenses.expiring", N_("Content token of Apps and Books expires soon")
    LICENSES_STOPPED = "licenses.stopped", N_("Apps and Books gives no licenses any more")
    LICENSES_FORGOTTEN = "licenses.forgotten", N_("Content token of Apps and Books forgotten")

    KEYS_ROTATED = "keys.rotated", N_("Keys changed")
    BACKUP_RESTORED = "backup.restored", N_("Restored from a backup")

    SIGNER_RENEWED = "signer.renewed", N_("Profile signer renewed")


REQUEST = "request:"
"""What the name of a request's chain begins with."""


def request_chain(request_id: str) -> str:
    """The name of a request's chain of events."""
    return REQUEST + request_id


@dataclass(frozen=True, slots=True)
class Happened:
    """One event on its way into ``chain``: ``reason`` is a code, ``detail`` small and erasable."""

    chain: str
    event: Event
    at: datetime
    reason: str | None
    actor: str
    detail: dict[str, Any] | None

"""The audit trail: who did what, and why."""

from portal.events import Event
from portal.labels.devices import COMMAND
from portal.wording import N_, Labels

EVENT = Labels({event: event.words for event in Event})

GROUP = Labels(
    {
        "request.": N_("Requests"),
        "steps.": N_("Steps of the journey"),
        "sign_in.": N_("Signing in"),
        "passcode.": N_("Passcodes"),
        "profile.": N_("Profiles"),
        "handover.": N_("Handing over"),
        "certificate.": N_("Certificates"),
        "device.": N_("Devices"),
        "command.": N_("Commands"),
        "token.": N_("Signing in again"),
        "mail.": N_("Mail"),
        "person.": N_("People"),
        "settings.": N_("Settings"),
        "terms.": N_("Terms"),
        "staff.": N_("Staff sign-ins"),
        "password.": N_("Passwords"),
        "passkey.": N_("Passkeys"),
        "api_token.": N_("API tokens"),
        "removals.": N_("Held removals"),
        "second_factor.": N_("Second factors"),
        "keys.": N_("Keys and backups"),
        "discovery.": N_("Service discovery"),
        "policy.": N_("Policies"),
        "app.": N_("Work apps"),
        "licenses.": N_("Apps and Books"),
        "apple.": N_("Apple Business"),
        "campaign.": N_("Inviting from a list"),
    }
)
"""Beginnings of events, to search by."""

ALSO = {
    "steps.": ("browser.", "ownership.", "privacy.", "overview."),
    "token.": ("account.",),
    "person.": ("people.",),
    "keys.": ("signer.", "backup."),
    "policy.": ("policies.", "work."),
}
"""What else counts among such a group."""

ACTOR = Labels(
    {
        "employee": N_("the employee"),
        "device": N_("the device"),
        "command": N_("a command"),
        "directory": N_("the directory"),
        "released": N_("two admins"),
        "system": N_("the portal"),
        "setup": N_("the portal"),
        # who is not known by name any more, and programs
        "token": N_("a program"),
        "helpdesk": N_("somebody of the helpdesk"),
        "admin": N_("an admin"),
    }
)

ROLE = Labels(
    {
        "admin": N_("Admin"),
        "helpdesk": N_("Helpdesk"),
        "employee": N_("Employee"),
    }
)

FACTOR = Labels(
    {
        "app": N_("code of the app"),
        "recovery_code": N_("recovery code"),
        "passkey": N_("passkey"),
        "new_app": N_("app set up just now"),
        "provider": N_("second factor of the single sign-on"),
    }
)
"""Second factors of staff."""

REASON = Labels(
    {
        **COMMAND,
        "invitation": N_("invitation"),
        "passcode": N_("passcode"),
        "wrong_person": N_("someone else than the invited person"),
        "wrong_credentials": N_("username or password wrong"),
        "wrong_code": N_("wrong code"),
        "wrong_passkey": N_("the passkey was not accepted"),
        "proof_over": N_("the sign-ins of the person ended meanwhile"),
        "factor_locked": N_("the second factor is locked"),
        "not_staff": N_("not staff"),
        "passcode_expired": N_("it had expired"),
        "wrong_topic": N_("it asked for another push topic"),
        "given_back": N_("given back"),
        "60": N_("in 60 days or less"),
        "30": N_("in 30 days or less"),
        "7": N_("in 7 days or less"),
        "token": N_("the token is not taken any more"),
        "claimed": N_("another server uses the location"),
        "other_location": N_("the token is for another location"),
        "address": N_("the address was changed"),
        "dropped_old": N_("the old ones were dropped"),
        "throttled": N_("too many tries"),
        "source_unavailable": N_("sign-in out of reach"),
        "sso_cancelled": N_("stopped at the single sign-on"),
        "sso_clock": N_("the clocks of portal and single sign-on differ too much"),
        "sso_state": N_("single sign-on took too long or was begun in another window"),
        "sso_disabled": N_("the account is disabled"),
        "sso_not_allowed": N_("not in the group that may enroll"),
        "sso_username_taken": N_("the username belongs to somebody else here"),
        "disabled": N_("the account is disabled"),
        "expired": N_("the account has expired"),
        "password_expired": N_("the password has expired"),
        "must_change_password": N_("a new password has to be chosen first"),
        "not_allowed": N_("not in the group that may enroll"),
        "username_taken": N_("the username belongs to somebody else here"),
        "another_account": N_("another Managed Apple Account was typed in Settings than this person's"),
        "in_settings": N_("in Settings"),
        "for_settings": N_("for Settings"),
        "not_answered": N_("what the link asks has to be answered in Safari first"),
        "no_token": N_("it showed no access token"),
        "unknown_token": N_("its access token is unknown"),
        "token_of_another": N_("it showed the access token of another device: perhaps a stolen one"),
        "token_expired": N_("it took too long, the access token had expired"),
        "token_revoked": N_("its access token was revoked"),
        "token_used": N_("the access token was used up by a device that is enrolled: perhaps a stolen one"),
        "token_too_old": N_("its last sign-in is too long ago"),
        "asked_by_helpdesk": N_("asked by the helpdesk"),
        "again": N_("with the same account"),
        "by_staff": N_("by staff"),
        "shown": N_("and shown to staff on the screen"),
        "wrong": N_("does not match"),
        "locked": N_("no tries left, a new one must be sent"),
        "employee": N_("own device"),
        "corporate": N_("company device"),
        "no_managed_apple_account": N_("no Managed Apple Account"),
        "subject": N_("the name cannot stand in a certificate"),
        "too_many": N_("too many certificates in a day"),
        "unknown_challenge": N_("unknown challenge"),
        "challenge_used": N_("the profile was already used by another device"),
        "challenge_expired": N_("the profile had expired"),
        "superseded": N_("replaced by a newer download"),
        "legacy_digest": N_("signed with SHA-1, which is not accepted"),
        "unknown_digest": N_("signed in a way that is not accepted"),
        "legacy_cipher": N_("encrypted with DES, which is not accepted"),
        "unknown_cipher": N_("encrypted in a way that is not accepted"),
        "signer_key": N_("signed with a key to which no answer can be encrypted"),
        "weak_key": N_("the key is not RSA of at least 2048 bits"),
        "csr_signature": N_("the request is not signed by its own key"),
        "no_challenge": N_("without a challenge"),
        "malformed_csr": N_("cannot be read"),
        "not_decryptable": N_("cannot be read"),
        "unsupported_message_type": N_("asked for something else than a first certificate"),
        "subject_mismatch": N_("asked for another name"),
        "request_ended": N_("the request is closed"),
        "hardware_identifier": N_("not a user enrollment: it sent a hardware identifier"),
        "no_enrollment_id": N_("not a user enrollment: no EnrollmentID"),
        "odd_enrollment_id": N_("its EnrollmentID is none by which a device can be called"),
        "certificate_revoked": N_("its certificate was revoked"),
        "certificate_of_another_device": N_("the certificate belongs to another device"),
        "enrollment_id_of_another_device": N_("the EnrollmentID belongs to another device"),
        "selective_wipe": N_("work data removed by staff"),
        "person_disabled": N_("the person's account was disabled"),
        "cancelled": N_("cancelled by staff"),
        "given_up": N_("given up by staff, the device did not answer"),
        "push_failed": N_("Apple's push service did not take it"),
        "push_token_gone": N_("Apple's push service does not know it any more"),
        "push_certificate_refused": N_("Apple refuses the push certificate"),
        "push_certificate_expired": N_("the push certificate has expired"),
        "push_data_missing": N_("it has not told how to wake it yet"),
        "person_erased": N_("the person was erased"),
        "forgotten": N_("it expired long ago"),
        "removed_on_device": N_("removed on the device"),
        "removed_there": N_("control was removed in the device management"),
        "maas360_*": N_("MaaS360 does not take it"),
        "status_*": N_("device management does not answer as it should"),
        "timeout": N_("device management does not answer in time"),
        "unreachable": N_("device management is out of reach"),
        "supervised": N_("not a user enrollment: the whole device is managed"),
        "unknown_there": N_("the device management does not know the person"),
        "inactive_there": N_("the person's account in the device management is not active"),
        "not_added_there": N_("the device management did not add the person"),
        "no_push_certificate": N_("no push certificate"),
        "self": N_("by the employee"),
        "push_*": N_("Apple's push service does not answer"),
        "sso_*": N_("the single sign-on did not answer as it should"),
    }
)

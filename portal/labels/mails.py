"""Mails about something that happened: what it was, and what to do."""

from portal.wording import N_, Labels

ALERT = Labels(
    {
        "corporate": N_("Says: company device"),
        "no_managed_apple_account": N_("No Managed Apple Account"),
        "passcode_locked": N_("Passcode locked"),
        "device_refused": N_("Device refused"),
        "device_left": N_("Enrollment ended on the device"),
        "mail_failed": N_("Mail cannot be delivered"),
    }
)
"""To the helpdesk."""

LEFT = Labels(
    {
        "removed_on_device": N_(
            "You removed the work account or its profile on your device, so the enrollment is over."
        ),
        "selective_wipe": N_("Your helpdesk removed everything of work from your device."),
        "person_disabled": N_(
            "Your account at %(company)s was closed, so everything of work was removed from your device."
        ),
        "cancelled": N_("Your helpdesk ended the enrollment, so everything of work was removed from your device."),
        "given_up": N_(
            "Your device was not heard of for a long time, so your helpdesk ended its enrollment. If it still"
            " has work apps, they and their data are removed as soon as it is online."
        ),
    },
    otherwise=N_("The enrollment of your device is over."),
)
"""To somebody whose enrollment ended."""

SECURITY = Labels(
    {
        "factor_locked": N_("The second factor of %(who)s is locked after 20 wrong codes"),
        "factor_reset": N_("The second factor of %(who)s was reset"),
        "factor_replaced": N_("The second factor of %(who)s was replaced"),
        "passkey_added": N_("%(who)s has a new passkey"),
        "admin_added": N_("A new admin was added: %(who)s"),
        "admin_made": N_("%(who)s is an admin now"),
        "token_made": N_("A new API token was made: %(who)s"),
        "removals_held": N_("Too many devices would lose their work data: removals are held"),
        "licenses_expiring": N_("The content token for work apps expires in %(who)s days"),
        "licenses_stopped": N_("Apple gives no licenses for work apps any more"),
        "keys_dropped": N_("The portal's old secret keys were dropped"),
        "backup_restored": N_("The portal was restored from a backup"),
        "your_factor_locked": N_("Your second factor is locked"),
        "your_factor_reset": N_("Your second factor was reset"),
        "your_factor_replaced": N_("Your second factor was replaced"),
        "your_passkey_added": N_("A passkey was added to your account"),
        "your_passkey_removed": N_("A passkey was removed from your account"),
        "your_role_changed": N_("Your role was changed"),
        "your_password_changed": N_("Your password was changed"),
    }
)
"""To admins, and to the person concerned."""

TO_DO = Labels(
    {
        "removals_held": N_("Look on the dashboard whether that is right. Two admins have to agree before it goes on."),
        "factor_locked": N_(
            "Ask them whether it was them. If not, somebody knows their password: have them change it, then release the"
            " factor."
        ),
        "your_factor_locked": N_(
            "Somebody entered 20 wrong codes in a row after your right password. If it was not you, change your"
            " password now. An admin can release the codes."
        ),
        "backup_restored": N_(
            "What was changed since that backup is as it was before: who is an admin, who is disabled or erased, "
            "passwords, second factors, settings. Look through them now."
        ),
        "licenses_*": N_(
            "In Apple Business, under Settings, Apps and Books, download the content token of your location, and "
            "upload it on the portal's page about licenses. Until then nobody gets new work apps; those on the "
            "iPhones stay."
        ),
        "your_*": N_("If it was not you, tell your helpdesk at once."),
    },
    otherwise=N_("If none of you did that, look into the audit trail now."),
)
"""What whoever reads ``SECURITY`` should do."""

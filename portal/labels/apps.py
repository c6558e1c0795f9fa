"""Work apps: where one is on a device, what is wrong with one or with its license, and what Apps and Books says."""

from portal.wording import N_, Labels

OWN_APP_STATE = Labels(
    {
        "Queued": N_("on its way"),
        "Prompting": N_("waits for your yes"),
        "PromptingForLogin": N_("waits for you to sign in"),
        "ManagedButUninstalled": N_("you deleted it"),
        "UserInstalledApp": N_("your own app"),
        "UserRejected": N_("you declined it"),
        "ManagementRejected": N_("you declined it"),
        "PromptingForUpdate": N_("waits for your yes"),
        "PromptingForUpdateLogin": N_("waits for you to sign in"),
        "UpdateRejected": N_("you declined the update"),
    }
)
"""The same to its owner, where ``APP_STATE`` speaks of them."""

APP_STATE = Labels(
    {
        "license": N_("waits for a license"),
        "no_license": N_("no license"),
        "too_old": N_("needs a newer iOS"),
        "waiting": N_("on its way"),
        "removing": N_("is being removed"),
        "Queued": N_("in the device's queue"),
        "NeedsRedemption": N_("being prepared"),
        "Redeeming": N_("being prepared"),
        "Prompting": N_("waits for the owner's yes"),
        "PromptingForLogin": N_("waits for the owner to sign in"),
        "ValidatingPurchase": N_("license is being checked"),
        "Installing": N_("installing"),
        "Managed": N_("installed"),
        "ManagedButUninstalled": N_("deleted by the owner"),
        "UserInstalledApp": N_("the owner's own app"),
        "UserRejected": N_("declined by the owner"),
        "PromptingForUpdate": N_("waits for the owner's yes"),
        "PromptingForUpdateLogin": N_("waits for the owner to sign in"),
        "ValidatingUpdate": N_("update is being checked"),
        "Updating": N_("updating"),
        "UpdateRejected": N_("update declined by the owner"),
        "PromptingForManagement": N_("waits for the owner's yes"),
        "ManagementRejected": N_("declined by the owner"),
        "Failed": N_("failed"),
        "Unknown": N_("being checked"),
    }
)

APP_SAY = Labels(
    {
        "license": N_("The portal gets a license from Apple. That takes a moment."),
        "waiting": N_("The device is asked when it connects next. Have it unlocked and online."),
        "Prompting": N_("On the iPhone a question waits: Install app? Tap Install."),
        "PromptingForLogin": N_(
            "The iPhone asks for the password of the Managed Apple Account. Sign in with that one, not with the "
            "private one."
        ),
        "ManagedButUninstalled": N_("The owner deleted it. If they want it back, send it again."),
        "UserInstalledApp": N_(
            "The owner installed this app themselves; it stays theirs, and IT sees nothing of it. For the work "
            "version they delete their own copy first; then send it again."
        ),
        "UserRejected": N_("The owner tapped Cancel. If that was a mistake, send it again and have them tap Install."),
        "ManagementRejected": N_("The owner said no. If that was a mistake, send it again."),
        "UpdateRejected": N_("The app works, but is not the newest. Sending it again offers the update again."),
        "removing": N_("The device is asked to remove it when it connects next."),
    },
    otherwise="",
)

LICENSE_ERROR = Labels(
    {
        "no_licenses": N_(
            "None is free. Get more in Apple Business, under Apps and Books; it is tried again every hour."
        ),
        "not_usable": N_("The license is not for iPhones, or cannot be given to people and taken back."),
        "account_refused": N_(
            "Apple does not take the Managed Apple Account. Look whether it exists in Apple Business."
        ),
        "9706": N_("Apple says: this license cannot be taken back, so it cannot be given to people here."),
        "9707": N_(
            "Apple says: this license cannot be given in this way. Only user-based licenses work in user enrollment."
        ),
        "9709": N_("None is free. Get more in Apple Business, under Apps and Books; it is tried again every hour."),
        "9609": N_("Apple does not know the person. It is tried again."),
    }
)

CONTENT_TOKEN_PROBLEM = Labels(
    {
        "large": N_("The file is too large for a content token."),
        "unreadable": N_("That is no content token of Apps and Books (a .vpptoken file)."),
        "incomplete": N_("The token lacks something. Download it again."),
        "expired": N_("The token has expired. Download a new one."),
        "other_location": N_(
            "The token is for another location than the one in use. Forget the one in use first; its licenses have "
            "to be given back before."
        ),
        "claimed": N_("Another device management server uses this location. Two servers would undo each other's work."),
        "unreachable": N_("Apple does not answer. Nothing was saved; try again in a while."),
        "internal": N_("Apple has a problem of its own. Nothing was saved; try again in a while."),
        "too_many": N_("Apple was asked too often. Nothing was saved; try again in a while."),
        "unexpected": N_("Apple answers something unexpected. Nothing was saved."),
        "changed_meanwhile": N_("Something changed while it was read. Try again."),
        "refused 9621": N_("Apple says: the token has expired. Download a new one."),
        "refused 9622": N_("Apple does not take this token. Download it again."),
        "refused 9625": N_(
            "Apple says: the token was revoked, by a newer download or a changed password. Download a new one."
        ),
        "refused *": N_("Apple refuses the token."),
        "address": N_("The address of Apps and Books was changed since the token was uploaded. Upload it again."),
        "token": N_("Apple does not take the token any more. Upload a new one."),
    }
)

APP_PROBLEM = Labels(
    {
        "nothing": N_("Choose one, or type an id or an address."),
        "adam_id": N_("That is no App Store id: a number, as in the app's address after “id”."),
        "manifest_url": N_("The address has to begin with https:// and be shorter than 500 characters."),
        "unreachable": N_("Nobody answers at that address. Nothing was saved; try again in a while."),
        "unknown": N_("Nothing is known of such an app."),
        "not_for_iphone": N_("The app is not for iPhones."),
        "no_manifest": N_("There is no manifest of an app at that address."),
        "no_token": N_("Upload a content token first: the store is asked with it."),
        "known": N_("The app is in the catalogue already."),
        "too_many": N_("The catalogue is full."),
        "large": N_("The configuration is longer than 64 KB."),
        "configuration": N_("That is no property list. Each entry is a <key> and a value after it."),
        "variable": N_("There is no variable of that name."),
        "domains": N_("That is no associated domain. One looks like applinks:example.com."),
        "vpn": N_("There is no such VPN."),
        "another_app": N_("There is another app now at that address, so nothing was changed."),
    }
)

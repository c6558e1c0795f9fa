"""What is wrong with something that was entered, beside its field."""

from portal.wording import N_, Labels

FIELD = Labels(
    {
        "username_missing": N_("Enter your username."),
        "their_username_missing": N_("Enter the username."),
        "username_long": N_("That username is too long. Check that nothing else was pasted."),
        "password_missing": N_("Enter your password."),
        "password_long": N_("That password is too long. Check that nothing else was pasted."),
        "password_guessable": N_(
            "That password is easy to guess, for instance from your name, common words or a pattern. Choose "
            "other words."
        ),
        "password_differs": N_("The two are not the same. Type the new password twice."),
        "account_elsewhere": N_("Your password is kept elsewhere. Change it where you do that for your work computer."),
        "credentials_wrong": N_("Username and password don't match. Check both and try again."),
        "account_disabled": N_("Your account is disabled. Ask your helpdesk."),
        "account_expired": N_("Your account has expired. Ask your helpdesk."),
        "account_password_expired": N_(
            "Your password has expired. Change it on your work computer, then sign in here with the new one."
        ),
        "account_must_change_password": N_(
            "You have to choose a new password first. Sign in to your work computer, then come back with the new one."
        ),
        "account_not_allowed": N_("Your account is not one of those that may enroll a device. Ask your helpdesk."),
        "account_username_taken": N_("Somebody else is known here by your username. Ask your helpdesk to sort it out."),
        "directory_unavailable": N_(
            "The directory is out of reach, so nobody new can be found right now. Try again in a moment."
        ),
        "ownership_missing": N_("Choose who owns this device."),
        "acknowledge_missing": N_("Read the notice, then tap the button below it."),
        "passcode_missing": N_("Enter the six digits from the e-mail."),
        "passcode_format": N_("The passcode has six digits. Check that nothing else was pasted."),
        "passcode_locked": N_("This passcode cannot be used any more. Send a new one below."),
        "passcode_expired": N_("This passcode has expired. Send a new one below."),
        "factor_locked": N_(
            "Too many wrong codes in a row: your codes are locked. An admin can release them; a passkey still works."
        ),
        "accept_missing": N_("Read the terms, then tap the button below them."),
        "code_missing": N_("Enter the code of your authenticator app."),
        "code_wrong": N_("That code is wrong, or it was used already. Wait for the next one."),
        "message_empty": N_("This cannot be empty."),
        "message_long": N_("That is too long."),
        "confirm_wrong": N_("To confirm, type %(name)s exactly as shown."),
        "staff_wrong": N_("Username, password and code don't match, or the code was used already. Check all three."),
        "username_spaces": N_("A username has no spaces."),
        "username_exists": N_("Somebody has that username already."),
        "name_missing": N_("Enter the name as people know it."),
        "name_long": N_("That name is too long. Check that nothing else was pasted."),
        "email_form": N_("Enter an e-mail address, like name@example.com."),
        "phone_form": N_("Enter a phone number like +49 170 1234567."),
        "account_form": N_("A Managed Apple Account looks like name@work.example.com."),
        "account_taken": N_("Somebody else has that Managed Apple Account."),
        "unknown_person": N_("Nobody is known by that username or e-mail address. Check the spelling."),
        "open_request": N_("This person has an open invitation already. Send that one again."),
        "too_many_devices": N_("This person has as many managed devices as one may have. Remove one first."),
        "no_managed_apple_account": N_(
            "This person has no Managed Apple Account, so no request can be created. An admin adds it under People, or "
            "it comes from the directory."
        ),
    },
    otherwise=N_("Something in this field is not right. Check it and try again."),
)

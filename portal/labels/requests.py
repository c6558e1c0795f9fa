"""Requests and lists of people, as the helpdesk reads them."""

from portal.wording import N_, Labels

STATUS = Labels(
    {
        "invited": N_("Invited"),
        "in_progress": N_("In progress"),
        "corporate": N_("Says: company device"),
        "profile_issued": N_("Profile issued"),
        "profile_expired": N_("Profile expired"),
        "enrolling": N_("Device enrolling"),
        "refused": N_("Device refused"),
        "enrolled": N_("Enrolled"),
        "removed": N_("Removed"),
        "expired": N_("Expired"),
        "cancelled": N_("Cancelled"),
    }
)

ATTENTION = Labels(
    {
        "locked": N_("Passcode locked"),
        "undelivered": N_("Mail not delivered"),
        "profile_expired": N_("Profile expired"),
        "browser": N_("Wrong browser"),
        "refused": N_("Device refused"),
        "corporate": N_("Says: company device"),
        "idle": N_("Nothing for a day"),
        "leaving": N_("Work data not removed yet"),
        "held": N_("Removal held"),
        "silent": N_("Device silent"),
    }
)

AGE = Labels(
    {
        "day": N_("Last 24 hours"),
        "week": N_("Last 7 days"),
        "older": N_("Older than 7 days"),
    }
)

SOURCE = Labels(
    {
        "helpdesk": N_("Helpdesk"),
        "admin": N_("Admin"),
        "self": N_("The employee"),
        "command": N_("A command"),
        "import": N_("A list"),
    }
)

STEP = Labels(
    {
        "sign-in": N_("Sign-in"),
        "ownership": N_("Ownership"),
        "privacy": N_("Privacy notice"),
        "passcode": N_("Passcode"),
        "overview": N_("Overview"),
        "terms": N_("Terms"),
        "profile": N_("Set up on the iPhone"),
        "finish": N_("Finish"),
    }
)

CAMPAIGN = Labels(
    {
        "checked": N_("Checked, nobody invited yet"),
        "running": N_("Running"),
        "paused": N_("Paused"),
        "cancelled": N_("Cancelled"),
        "done": N_("Done"),
    }
)

LINE = Labels(
    {
        "empty": N_("no username on this line"),
        "not_a_username": N_("cannot be a username"),
        "twice": N_("is already on the list"),
        "unknown": N_("nobody is known by that username"),
        "disabled": N_("is disabled"),
        "open_request": N_("is invited already"),
        "too_many_devices": N_("has as many devices as one may have"),
        "not_taken": N_("cannot be taken over from the directory"),
    }
)
"""What is wrong with a line of a list; what it does not say, ``REASON`` does."""

LIST = Labels(
    {
        "missing": N_("Choose a file first."),
        "large": N_("The file is larger than 8 MB."),
        "encoding": N_("Line %(line)s is not UTF-8, so names would be guessed wrong. Save the file as “CSV UTF-8”."),
        "binary": N_("That is no text file. Save the sheet as CSV."),
        "lines": N_("The list has more than 50,000 people. Split it."),
        "empty": N_("There is nobody on the list."),
    }
)
"""What is wrong with a whole list."""

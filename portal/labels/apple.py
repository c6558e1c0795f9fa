"""Apple Business: what is wrong with an uploaded server token, and what Apple says of it."""

from portal.wording import N_, Labels

APPLE_TOKEN_PROBLEM = Labels(
    {
        "large": N_("The file is too large for a server token."),
        "unreadable": N_("That is no server token of Apple Business (a .p7m file)."),
        "other_key": N_(
            "The token was made for another key. Upload this portal's certificate there, and download it again."
        ),
        "incomplete": N_("The token lacks something. Download it again."),
        "expired": N_("The token has expired. Download a new one."),
    }
)

APPLE_PROBLEM = Labels(
    {
        "unreachable": N_("does not answer"),
        "token_refused": N_("does not take the token any more"),
        "terms_or_token": N_("refuses: agree to its newest terms in Apple Business, or upload a new token"),
        "unexpected": N_("answers something unexpected"),
        "other_address": N_(
            "is not asked: its address in the settings changed after the token was uploaded; upload it again"
        ),
    }
)

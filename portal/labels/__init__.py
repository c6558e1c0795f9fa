"""What every code that a person may read is called: tables of marked texts, by topic."""

from portal.labels.apple import APPLE_PROBLEM, APPLE_TOKEN_PROBLEM
from portal.labels.apps import APP_PROBLEM, APP_SAY, APP_STATE, CONTENT_TOKEN_PROBLEM, LICENSE_ERROR
from portal.labels.devices import ATTRIBUTE, COMMAND, COMMAND_STATE, DISCOVERY, FORBIDDEN, OUTAGE
from portal.labels.forms import FIELD
from portal.labels.mails import ALERT, LEFT, SECURITY, TO_DO
from portal.labels.policies import ACCOUNT, PART, PART_FIELD, PART_LEAD, PART_PROBLEM, POLICY_STATE, VALUE, VARIABLE
from portal.labels.requests import AGE, ATTENTION, CAMPAIGN, LINE, LIST, SOURCE, STATUS, STEP
from portal.labels.settings import CHOICE, PAGE, PAGE_GROUP, PAGE_LEAD, PROBLEM, SETTING, SETTING_HELP
from portal.labels.trail import ACTOR, ALSO, EVENT, FACTOR, GROUP, REASON, ROLE

__all__ = [
    "ACCOUNT",
    "ACTOR",
    "AGE",
    "ALERT",
    "ALSO",
    "APPLE_PROBLEM",
    "APPLE_TOKEN_PROBLEM",
    "APP_PROBLEM",
    "APP_SAY",
    "APP_STATE",
    "ATTENTION",
    "ATTRIBUTE",
    "CAMPAIGN",
    "CHOICE",
    "COMMAND",
    "COMMAND_STATE",
    "CONTENT_TOKEN_PROBLEM",
    "DISCOVERY",
    "EVENT",
    "FACTOR",
    "FIELD",
    "FORBIDDEN",
    "GROUP",
    "LEFT",
    "LICENSE_ERROR",
    "LINE",
    "LIST",
    "OUTAGE",
    "PAGE",
    "PAGE_GROUP",
    "PAGE_LEAD",
    "PART",
    "PART_FIELD",
    "PART_LEAD",
    "PART_PROBLEM",
    "POLICY_STATE",
    "PROBLEM",
    "REASON",
    "ROLE",
    "SECURITY",
    "SETTING",
    "SETTING_HELP",
    "SOURCE",
    "STATUS",
    "STEP",
    "TO_DO",
    "VALUE",
    "VARIABLE",
]

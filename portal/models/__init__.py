"""The tables, one file a topic."""

from portal.models.apps import (
    COMMANDED,
    WITHDRAWN,
    App,
    AppAudience,
    AppChoice,
    AppLicense,
    DeviceApp,
    LicenseRequest,
    LicenseSeat,
    LicenseUser,
)
from portal.models.audiences import Membership, PolicyAudience
from portal.models.base import Base, new_id
from portal.models.campaigns import Campaign, CampaignEntry
from portal.models.configuration import SettingsVersion, SettingValue
from portal.models.devices import BackendEvent, Certificate, Command, CommandState, DeclarativeState, Device
from portal.models.enrollment import AccessToken, EnrollmentRequest, IssuedProfile, RequestLink, Terms, TermsDraft
from portal.models.operations import AuditEvent, AuditHead, DiscoveryCheck, OutboxMessage, PortalState, Tally
from portal.models.people import (
    LocalAccount,
    Passkey,
    PasskeyChallenge,
    PasswordLink,
    Person,
    SearchWord,
    SecondFactor,
    SignInAttempt,
    WebSession,
)
from portal.models.policies import DevicePolicy, Policy, PolicyVersion, WorkCertificate
from portal.models.tokens import ApiToken

__all__ = [
    "COMMANDED",
    "WITHDRAWN",
    "AccessToken",
    "ApiToken",
    "App",
    "AppAudience",
    "AppChoice",
    "AppLicense",
    "AuditEvent",
    "AuditHead",
    "BackendEvent",
    "Base",
    "Campaign",
    "CampaignEntry",
    "Certificate",
    "Command",
    "CommandState",
    "DeclarativeState",
    "Device",
    "DeviceApp",
    "DevicePolicy",
    "DiscoveryCheck",
    "EnrollmentRequest",
    "IssuedProfile",
    "LicenseRequest",
    "LicenseSeat",
    "LicenseUser",
    "LocalAccount",
    "Membership",
    "OutboxMessage",
    "Passkey",
    "PasskeyChallenge",
    "PasswordLink",
    "Person",
    "Policy",
    "PolicyAudience",
    "PolicyVersion",
    "PortalState",
    "RequestLink",
    "SearchWord",
    "SecondFactor",
    "SettingValue",
    "SettingsVersion",
    "SignInAttempt",
    "Tally",
    "Terms",
    "TermsDraft",
    "WebSession",
    "WorkCertificate",
    "new_id",
]

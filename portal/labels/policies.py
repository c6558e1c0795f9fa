"""Policies: kinds of parts, their fields, what is wrong with one, and what became of it on a device."""

from portal.wording import N_, Labels

PART = Labels(
    {
        "com.apple.mobiledevice.passwordpolicy": N_("Passcode"),
        "com.apple.wifi.managed": N_("Wi-Fi"),
        "com.apple.eas.account": N_("Exchange account"),
        "com.apple.mail.managed": N_("Mail account"),
        "com.apple.caldav.account": N_("Calendar account"),
        "com.apple.carddav.account": N_("Contacts account"),
        "com.apple.subscribedcalendar.account": N_("Subscribed calendar"),
        "com.apple.applicationaccess": N_("Restrictions"),
        "com.apple.vpn.managed.applayer": N_("VPN for work apps"),
        "com.apple.security.root": N_("Certificate to trust"),
        "com.apple.security.pkcs12": N_("Identity from a file"),
        "com.apple.security.scep": N_("Identity of the device's own"),
        "com.apple.webClip.managed": N_("Web clip"),
        "com.apple.extensiblesso": N_("Single sign-on extension"),
    }
)

PART_LEAD = Labels(
    {
        "com.apple.mobiledevice.passwordpolicy": N_(
            "Six digits that are not simple, once this part is in a policy. Apple ignores every other wish about the "
            "passcode on personal devices."
        ),
        "com.apple.wifi.managed": N_("The company's network, joined by itself."),
        "com.apple.eas.account": N_("Mail, contacts and calendars of an Exchange server or Microsoft 365."),
        "com.apple.mail.managed": N_("A mailbox by IMAP or POP, on the work side."),
        "com.apple.caldav.account": N_("Calendars by CalDAV, on the work side."),
        "com.apple.carddav.account": N_("Contacts by CardDAV, on the work side."),
        "com.apple.subscribedcalendar.account": N_("A calendar to read, from an address."),
        "com.apple.applicationaccess": N_("Above all that work data does not leave the work side."),
        "com.apple.vpn.managed.applayer": N_("Only for work apps, accounts and the domains named here."),
        "com.apple.security.root": N_("Of the company's own authority, for its servers and networks."),
        "com.apple.security.pkcs12": N_("One certificate with its key, the same for everybody who gets the policy."),
        "com.apple.security.scep": N_(
            "A certificate from this portal, or from another SCEP server; its key never leaves the device."
        ),
        "com.apple.webClip.managed": N_("An icon on the Home Screen that opens a website."),
        "com.apple.extensiblesso": N_("An app that signs people in to websites and other work apps."),
    },
    otherwise="",
)

VALUE = Labels(
    {
        "EmailTypeIMAP": "IMAP",
        "EmailTypePOP": "POP",
        "EmailAuthNone": N_("none"),
        "EmailAuthPassword": N_("password"),
        "Any": N_("whatever the network offers"),
        "None": N_("none"),
        "SharedSecret": N_("shared secret"),
        "Certificate": N_("certificate"),
        "13": "EAP-TLS",
        "17": "LEAP",
        "18": "EAP-SIM",
        "21": "EAP-TTLS",
        "23": "EAP-AKA",
        "25": "PEAP",
        "43": "EAP-FAST",
    }
)

PART_FIELD = Labels(
    {
        "maxInactivity": N_("Take “Never” away from Auto-Lock"),
        "SSID_STR": N_("Name of the network"),
        "HIDDEN_NETWORK": N_("The network is hidden"),
        "AutoJoin": N_("Join by itself"),
        "EncryptionType": N_("Security"),
        "Password": N_("Password"),
        "EAPClientConfiguration.AcceptEAPTypes": N_("Ways to sign in to the network (EAP)"),
        "EAPClientConfiguration.UserName": N_("Username for the network"),
        "EAPClientConfiguration.UserPassword": N_("Password for the network"),
        "EAPClientConfiguration.OuterIdentity": N_("Name that is visible outside (outer identity)"),
        "EAPClientConfiguration.TTLSInnerAuthentication": N_("Inner authentication (TTLS)"),
        "EAPClientConfiguration.TLSTrustedServerNames": N_("Trusted names of the servers"),
        "EAPClientConfiguration.PayloadCertificateAnchorUUID": N_("Trusted certificates"),
        "EAPClientConfiguration.TLSMinimumVersion": N_("Lowest version of TLS"),
        "PayloadCertificateUUID": N_("Identity certificate"),
        "VPN.PayloadCertificateUUID": N_("Identity certificate"),
        "IKEv2.PayloadCertificateUUID": N_("Identity certificate"),
        "VPNUUID": N_("Only through this VPN"),
        "Host": N_("Server"),
        "EmailAddress": N_("E-mail address"),
        "UserName": N_("Username"),
        "OAuth": N_("Sign in on a web page (OAuth)"),
        "OAuthSignInURL": N_("Address of the sign-in page"),
        "OAuthTokenRequestURL": N_("Address for tokens"),
        "SSL": N_("Encrypted connection"),
        "EnableMail": N_("Mail"),
        "EnableContacts": N_("Contacts"),
        "EnableCalendars": N_("Calendars"),
        "EnableReminders": N_("Reminders"),
        "EnableNotes": N_("Notes"),
        "PreventMove": N_("Keep mail in this account"),
        "PreventAppSheet": N_("Send only with the Mail app"),
        "EmailAccountDescription": N_("What the account is called"),
        "EmailAccountType": N_("Kind of mailbox"),
        "EmailAccountName": N_("Name of the sender"),
        "IncomingMailServerHostName": N_("Server for incoming mail"),
        "IncomingMailServerPortNumber": N_("Its port"),
        "IncomingMailServerUseSSL": N_("Encrypted connection to it"),
        "IncomingMailServerAuthentication": N_("How to sign in there"),
        "IncomingMailServerUsername": N_("Username there"),
        "IncomingPassword": N_("Password there"),
        "OutgoingMailServerHostName": N_("Server for outgoing mail"),
        "OutgoingMailServerPortNumber": N_("Port for outgoing mail"),
        "OutgoingMailServerUseSSL": N_("Encrypted connection for outgoing mail"),
        "OutgoingMailServerAuthentication": N_("How to sign in for outgoing mail"),
        "OutgoingMailServerUsername": N_("Username for outgoing mail"),
        "OutgoingPasswordSameAsIncomingPassword": N_("The same password for outgoing mail"),
        "CalDAVAccountDescription": N_("What the account is called"),
        "CalDAVHostName": N_("Server"),
        "CalDAVPort": N_("Port"),
        "CalDAVUseSSL": N_("Encrypted connection"),
        "CalDAVPrincipalURL": N_("Address of the person's calendars"),
        "CalDAVUsername": N_("Username"),
        "CalDAVPassword": N_("Password"),
        "CardDAVAccountDescription": N_("What the account is called"),
        "CardDAVHostName": N_("Server"),
        "CardDAVPort": N_("Port"),
        "CardDAVUseSSL": N_("Encrypted connection"),
        "CardDAVPrincipalURL": N_("Address of the person's contacts"),
        "CardDAVUsername": N_("Username"),
        "CardDAVPassword": N_("Password"),
        "SubCalAccountDescription": N_("What the calendar is called"),
        "SubCalAccountHostName": N_("Address of the calendar"),
        "SubCalAccountUseSSL": N_("Encrypted connection"),
        "SubCalAccountUsername": N_("Username"),
        "SubCalAccountPassword": N_("Password"),
        "allowOpenFromManagedToUnmanaged": N_("Work documents may be opened in personal apps"),
        "allowOpenFromUnmanagedToManaged": N_("Personal documents may be opened in work apps"),
        "requireManagedPasteboard": N_("Copy and paste follow the two rules above"),
        "forceAirDropUnmanaged": N_("AirDrop counts as personal"),
        "allowUnmanagedToReadManagedContacts": N_("Personal apps may read work contacts"),
        "allowManagedAppsCloudSync": N_("Work apps may keep data in iCloud"),
        "allowEnterpriseBookBackup": N_("Work books may be in backups"),
        "forceEncryptedBackup": N_("Backups on a computer must be encrypted"),
        "allowScreenShot": N_("Screenshots and recordings are allowed"),
        "allowLockScreenNotificationsView": N_("Earlier notifications may show on the lock screen"),
        "allowDiagnosticSubmission": N_("Diagnostics may be sent to Apple"),
        "UserDefinedName": N_("What the VPN is called"),
        "VPNType": N_("Kind of VPN"),
        "VPNSubType": N_("Identifier of the VPN app"),
        "VPN.ProviderBundleIdentifier": N_("Identifier of its extension"),
        "VPN.AuthenticationMethod": N_("How the VPN app signs in"),
        "VPN.Password": N_("Password of the VPN app"),
        "IKEv2.RemoteAddress": N_("Server (IKEv2)"),
        "IKEv2.RemoteIdentifier": N_("Name of the server (IKEv2)"),
        "IKEv2.LocalIdentifier": N_("Name of the device (IKEv2)"),
        "IKEv2.AuthenticationMethod": N_("How to sign in (IKEv2)"),
        "IKEv2.SharedSecret": N_("Shared secret (IKEv2)"),
        "SafariDomains": N_("Domains that Safari reaches through it"),
        "AssociatedDomains": N_("Domains that work apps reach through it"),
        "PayloadContent": N_("File"),
        "PayloadContent.URL": N_("Address of the SCEP server, or “portal” for an identity from this portal itself"),
        "PayloadContent.Name": N_("Name of the authority there"),
        "PayloadContent.Subject": N_("Subject of the certificate"),
        "PayloadContent.SubjectAltName.rfc822Name": N_("E-mail address in the certificate"),
        "PayloadContent.Challenge": N_("Challenge"),
        "PayloadContent.Keysize": N_("Size of the key"),
        "PayloadContent.Key Usage": N_("What the key is for (1 sign, 4 decrypt, 5 both)"),
        "PayloadContent.CAFingerprint": N_("Fingerprint of the authority's certificate, in hex"),
        "Label": N_("Name under the icon"),
        "URL": N_("Address"),
        "Icon": N_("Icon (PNG, at most 400 by 400)"),
        "FullScreen": N_("Without Safari's bars"),
        "IsRemovable": N_("Its owner can remove it"),
        "ExtensionIdentifier": N_("Identifier of the extension"),
        "TeamIdentifier": N_("Team of its maker"),
        "Type": N_("Kind"),
        "URLs": N_("Addresses it signs in to"),
        "Hosts": N_("Hosts it signs in to"),
        "Realm": N_("Realm"),
    }
)

PART_PROBLEM = Labels(
    {
        "missing": N_("This is needed."),
        "wrong_type": N_("This does not have the form that iOS expects."),
        "not_a_choice": N_("Choose one of those that are offered."),
        "out_of_range": N_("This number is too small or too large."),
        "number": N_("Enter a number."),
        "too_long": N_("That is too long."),
        "too_large": N_("The file is too large."),
        "secret_again": N_("Enter this again: where it is sent, or how, has changed."),
        "secret_upload_again": N_(
            "This part came from a file, with a secret that has no field here. To change where it is sent, upload it "
            "again."
        ),
        "trusted_by": N_(
            "Another part sends a secret by this certificate. Add the new certificate beside this one and choose it "
            "there: then the secret is asked for again."
        ),
        "changed": N_("Somebody else changed this meanwhile. Open it again."),
        "control_character": N_("There are characters in it that cannot be sent."),
        "cannot_be_written": N_("It cannot be written as a profile."),
        "uuid_twice": N_("Two payloads in the file have the same PayloadUUID."),
        "subject": N_("Write it like O=Example, CN={username}."),
        "fingerprint": N_("Enter the fingerprint in hexadecimal digits."),
        "certificate": N_("That is no certificate. Upload a PEM or DER file."),
        "identity": N_("The file cannot be opened: upload a .p12 with certificate and key, and enter its password."),
        "icon": N_("Upload a PNG of at most 400 by 400 pixels."),
        "certificate_elsewhere": N_("Choose an identity that is in this policy."),
        "outer_identity": N_("With TLS 1.3 the outer identity is needed."),
        "needs_uuid": N_("On personal devices this only works for work apps that name it."),
        "nothing_enabled": N_("At least one of mail, contacts, calendars, reminders and notes has to be on."),
        "password_with_oauth": N_("With sign-in on a web page there is no password."),
        "host_missing": N_("The server is needed."),
        "sso_needs": N_("This kind of extension needs it."),
        "no_network": N_("The name of the network is needed."),
        "no_password": N_("This kind of security needs a password or a way to sign in."),
        "twice": N_("Only one of these can be in a policy."),
        "unknown_variable": N_("This looks like a variable, but is none: %(detail)s"),
        "ignored": N_("Ignored on personal devices."),
        "removed": N_("Removed from iOS; newer devices ignore it."),
        "unknown_key": N_("Not in Apple's documents; it may be ignored."),
        "newer_ios": N_("Only from iOS %(detail)s on."),
        "deprecated": N_("Apple advises against it since iOS %(detail)s."),
        "forbidden": N_("Apple does not allow it on personal devices."),
        "forbidden_payload": N_("Apple does not allow this kind on personal devices."),
        "unknown_payload": N_("Apple's documents do not know this kind."),
        "removal": N_("Personal devices take no profile that their owner cannot remove."),
        "unreadable": N_("That is no configuration profile that can be read."),
        "no_payload": N_("The profile has nothing in it."),
        "too_many": N_("A policy has 40 parts at most."),
    }
)

ACCOUNT = Labels(
    {
        "caldav": N_("Calendar account"),
        "carddav": N_("Contacts account"),
        "exchange": N_("Exchange account"),
        "google": N_("Google account"),
        "ldap": N_("Directory of contacts"),
        "mail": N_("Mail account"),
        "subscribed-calendar": N_("Subscribed calendar"),
    }
)

POLICY_STATE = Labels(
    {
        "waiting": N_("waits for the device"),
        "sent": N_("sent"),
        "applied": N_("applied"),
        "failed": N_("failed"),
        "unfit": N_("does not apply"),
    }
)

VARIABLE = Labels(
    {
        "email": N_("e-mail address"),
        "managed_apple_account": N_("Managed Apple Account"),
        "username": N_("username"),
        "name": N_("name"),
    }
)

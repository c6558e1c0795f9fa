"""Every setting in words: what its field is called, what it does, and what can be wrong with it."""

from portal.wording import N_, Labels

PAGE = Labels(
    {
        "company": N_("Company and branding"),
        "enrollment": N_("Enrollment rules"),
        "from-settings": N_("Enrolling from Settings"),
        "accounts": N_("Managed Apple Accounts"),
        "sign-in": N_("Sign-in and sessions"),
        "directory": N_("Directory"),
        "providers": N_("Single sign-on"),
        "mail": N_("Mail"),
        "sms": N_("Text messages"),
        "notifications": N_("Notifications"),
        "backend": N_("Certificates and devices"),
        "maas360": N_("MaaS360"),
        "policies": N_("Policies, open or closed"),
        "apps": N_("Work apps, open or closed"),
        "texts": N_("Texts"),
        "retention": N_("Keeping and erasing"),
        "terms_page": N_("License terms"),
        "tokens_page": N_("API tokens"),
        "device_management": N_("Device management"),
        "apple_business_page": N_("Apple Business"),
        "policy_list": N_("Policies"),
        "policy_catalogue": N_("What policies can do"),
        "app_list": N_("Work apps"),
        "discovery_page": N_("Service discovery"),
    }
)

PAGE_LEAD = Labels(
    {
        "company": N_("What employees see at the top of every page, and whom they ask."),
        "enrollment": N_("Who may begin, how long links, passcodes and profiles work, and which devices fit."),
        "from-settings": N_("iPhones from iOS 15 on can enroll in Settings, from iOS 18 on only there."),
        "accounts": N_(
            "Where a person's Managed Apple Account (Managed Apple ID) comes from. Nobody enrolls without one."
        ),
        "sign-in": N_("Passwords, how many tries they take, and when people are signed out."),
        "directory": N_("An LDAP directory or Active Directory that knows people and checks their passwords."),
        "providers": N_("OpenID Connect: people sign in where they do for everything else."),
        "mail": N_("How invitations and passcodes leave the portal."),
        "sms": N_("A gateway that sends the link to phones. The passcode always goes by mail."),
        "notifications": N_("What the helpdesk is told by mail, as it happens."),
        "backend": N_(
            "Apple's push certificate, who signs the profiles that iPhones install, and what old clients may use."
        ),
        "maas360": N_("The device management that enrolls your people's devices when everything is answered here."),
        "policies": N_("Whether the portal itself gives devices settings for work."),
        "apps": N_("Whether the portal itself gives devices apps for work, with licenses of Apps and Books."),
        "texts": N_("Your own words in the privacy notice, the overview, the end, and in mails."),
        "retention": N_("When personal details are forgotten. The audit trail stays, without them."),
        "terms_page": N_("Versions, the next one as a draft, and when it is published."),
        "tokens_page": N_("For programs that invite people or watch the portal."),
        "device_management": N_("Whether it answers, its push certificate, and messages that belong to nobody."),
        "apple_business_page": N_("If Managed Apple Accounts are only allowed on managed devices."),
        "policy_list": N_("Wi-Fi, mail, certificates and a passcode for work, and who gets them."),
        "policy_catalogue": N_("Every setting that iPhones know, and which of them apply to personal devices."),
        "app_list": N_("Apps with a license for each person, and who gets them."),
        "discovery_page": N_("What your website has to answer so that iPhones find this portal, and whether it does."),
    },
    otherwise="",
)

PAGE_GROUP = Labels(
    {
        "company": N_("The company and its words"),
        "enrolling": N_("Who enrolls, and how"),
        "signing-in": N_("Signing in"),
        "messages": N_("Messages"),
        "devices": N_("Managing devices"),
        "work": N_("Policies and work apps"),
        "records": N_("Programs and records"),
    }
)

SETTING = Labels(
    {
        "company.name": N_("Name of the company"),
        "company.support_email": N_("Helpdesk's e-mail address"),
        "company.support_phone": N_("Helpdesk's phone number"),
        "company.time_zone": N_("Time zone"),
        "company.accent": N_("Colour of buttons and links"),
        "company.logo": N_("Logo"),
        "languages": N_("Languages"),
        "enrollment.self_enrollment": N_("Employees may start without an invitation"),
        "enrollment.self_enrollment_for": N_("Only these may start without an invitation"),
        "enrollment.request_lifetime_days": N_("Days that an invitation works"),
        "enrollment.devices_per_person": N_("Devices for each person"),
        "enrollment.minimum_ios": N_("Oldest iOS"),
        "enrollment.offer_corporate": N_("People may answer that the company owns the device"),
        "enrollment.email_as_managed_apple_account": N_("The e-mail address serves if there is no account"),
        "passcode.tries": N_("Tries for one passcode"),
        "passcode.resend_seconds": N_("Seconds between two passcodes"),
        "passcode.sends": N_("Passcodes that an employee can have sent"),
        "passcode.lifetime_minutes": N_("Minutes that a passcode works"),
        "passcode.shown_to_helpdesk": N_("Helpdesk may see a new passcode"),
        "profile.lifetime_minutes": N_("Minutes that a downloaded profile works"),
        "profile.certificate_days": N_("Days that a device's certificate is valid"),
        "profile.signing_identity": N_("Signing certificate with its key"),
        "mdm.push_identity": N_("Apple's push certificate with its key"),
        "mdm.refresh_hours": N_("Hours until a quiet device is asked how it is"),
        "mdm.apple_business": N_("Where Apple Business is asked about the server token"),
        "policies.enabled": N_("Give devices policies"),
        "apps.enabled": N_("Give devices work apps"),
        "apps.declared": N_("Give apps by declaration"),
        "apps.service": N_("Where Apps and Books answers"),
        "apps.store": N_("Where Apple's store tells what an app is"),
        "mdm.declarative": N_("Devices report by themselves"),
        "maas360.host": N_("Address of its web services"),
        "maas360.billing_id": N_("Billing ID"),
        "maas360.platform_id": N_("Platform ID"),
        "maas360.app_id": N_("App ID"),
        "maas360.app_version": N_("App version"),
        "maas360.app_access_key": N_("App access key"),
        "maas360.username": N_("Administrator for scripts"),
        "maas360.password": N_("Its password"),
        "maas360.authentication": N_("Version of the authentication"),
        "maas360.discovery_url": N_("Where iPhones enroll from Settings"),
        "maas360.enrollment_url": N_("Where older iPhones enroll in Safari"),
        "maas360.console_url": N_("Its own pages"),
        "maas360.add_users": N_("Add people whom it does not know"),
        "maas360.user_domain": N_("Their domain there"),
        "maas360.user_group": N_("The group they join there"),
        "maas360.policy": N_("Policy of a new device"),
        "maas360.handover_minutes": N_("Minutes to enroll after the journey"),
        "maas360.timeout_seconds": N_("Seconds to wait for an answer"),
        "maas360.names": N_("Corrections"),
        "enrollment.silent_days": N_("Days of silence until a device is flagged"),
        "profile.signing_certificate": N_("File with the signing certificate"),
        "profile.signing_key": N_("File with its private key"),
        "scep.accept_legacy": N_("Accept old encryption from devices"),
        "account_driven.domains": N_("Domains"),
        "account_driven.prefer": N_("What iOS 15 to 17 do"),
        "account_driven.minimum_ios": N_("Oldest iOS in Settings"),
        "account_driven.token_minutes": N_("Minutes for the device to come after signing in"),
        "account_driven.sign_in_again_days": N_("Days until a device's owner signs in again"),
        "account_driven.device_roots": N_("File with Apple's root certificates"),
        "account_driven.oauth2_provider": N_("Provider at which devices sign in themselves"),
        "account_driven.oauth2_client_id": N_("Its client for devices"),
        "managed_apple_account.source": N_("Where the account comes from"),
        "managed_apple_account.pattern": N_("Pattern"),
        "managed_apple_account.domain": N_("Domain in the pattern"),
        "managed_apple_account.domain_map": N_("Domains to replace"),
        "sign_in.passwords": N_("Employees may sign in with a password"),
        "sign_in.password_length": N_("Fewest characters of a local password"),
        "sign_in.account_tries": N_("Wrong tries for one account"),
        "sign_in.address_tries": N_("Wrong tries from one network address"),
        "sign_in.window_minutes": N_("Minutes in which they are counted"),
        "session.idle_minutes": N_("Minutes until an idle employee is signed out"),
        "session.absolute_hours": N_("Hours until anybody is signed out"),
        "session.staff_idle_minutes": N_("Minutes until idle staff is signed out"),
        "ldap.servers": N_("Servers"),
        "ldap.ca_file": N_("File with the CA of a private network"),
        "ldap.bind": N_("How people are found"),
        "ldap.service_dn": N_("Service account"),
        "ldap.service_password": N_("Its password"),
        "ldap.user_dn": N_("How people bind directly"),
        "ldap.base_dn": N_("Where people are searched"),
        "ldap.user_filter": N_("Filter for people"),
        "ldap.username_attribute": N_("Attribute with the username"),
        "ldap.subject_attribute": N_("Attribute that never changes"),
        "ldap.name_attribute": N_("Attribute with the name"),
        "ldap.email_attribute": N_("Attribute with the e-mail address"),
        "ldap.phone_attribute": N_("Attribute with the phone number"),
        "ldap.locale_attribute": N_("Attribute with the language"),
        "ldap.managed_apple_account_attribute": N_("Attribute with the Managed Apple Account"),
        "ldap.group_base_dn": N_("Where groups are searched"),
        "ldap.group_filter": N_("Filter for groups"),
        "ldap.nested_groups": N_("Groups in groups count"),
        "ldap.required_group": N_("Group that may sign in"),
        "ldap.helpdesk_group": N_("Group that is helpdesk"),
        "ldap.admin_group": N_("Group that is admin"),
        "ldap.timeout_seconds": N_("Seconds to wait for each server"),
        "oidc.providers": N_("Providers"),
        "mail.transport": N_("How mail leaves"),
        "mail.sender": N_("Sender"),
        "mail.host": N_("Mail server"),
        "mail.port": N_("Port"),
        "mail.security": N_("Encryption"),
        "mail.username": N_("Username at the mail server"),
        "mail.password": N_("Password at the mail server"),
        "mail.timeout_seconds": N_("Seconds to wait for the mail server"),
        "texts.privacy_lead": N_("Privacy notice: first words"),
        "texts.privacy_more": N_("Privacy notice: added below"),
        "texts.overview_more": N_("Overview: added below the three steps"),
        "texts.finish_more": N_("The end: added for an enrolled device"),
        "texts.mail_invitation": N_("Invitation mail: first words"),
        "texts.sms_invitation": N_("Text message: all of it"),
        "notifications.helpdesk": N_("Mail to the helpdesk when"),
        "sms.transport": N_("How text messages leave"),
        "sms.url": N_("Address of the gateway"),
        "sms.format": N_("Form of the request"),
        "sms.to_field": N_("Its name for the number"),
        "sms.text_field": N_("Its name for the text"),
        "sms.fields": N_("Other fields it wants"),
        "sms.authorization_secret": N_("Authorization header"),
        "sms.timeout_seconds": N_("Seconds to wait for the gateway"),
        "texts.mail_passcode": N_("Passcode mail: first words"),
        "retention.closed_requests_days": N_("Days until a closed request is emptied"),
        "retention.mail_days": N_("Days that sent mail is remembered"),
        "retention.commands_days": N_("Days that commands are listed"),
        "name": N_("Short name"),
        "title": N_("Text of the button"),
        "issuer": N_("Issuer"),
        "client_id": N_("Client ID"),
        "client_secret": N_("Client secret"),
        "client_authentication": N_("How the secret is sent"),
        "scopes": N_("Scopes"),
        "logo": N_("File with its logo"),
        "domains": N_("Domains that lead to it"),
        "username_claim": N_("Claim with the username"),
        "name_claim": N_("Claim with the name"),
        "email_claim": N_("Claim with the e-mail address"),
        "phone_claim": N_("Claim with the phone number"),
        "locale_claim": N_("Claim with the language"),
        "managed_apple_account_claim": N_("Claim with the Managed Apple Account"),
        "groups_claim": N_("Claim with the groups"),
        "required_group": N_("Group that may sign in"),
        "helpdesk_group": N_("Group that is helpdesk"),
        "admin_group": N_("Group that is admin"),
        "second_factor": N_("What its sign-in calls a second factor"),
    }
)

SETTING_HELP = Labels(
    {
        "company.name": N_("On every page, in mails and in the profile."),
        "company.support_email": N_("At the foot of every page, and who is told what needs a person."),
        "company.support_phone": N_("Beside the address; empty if there is none."),
        "company.time_zone": N_("In which times are told on pages and in mails, like Europe/Berlin."),
        "company.accent": N_(
            "Six hexadecimal digits, like #0a5ad4. It has to be dark enough to be read on white. Empty: the "
            "portal's blue."
        ),
        "company.logo": N_("PNG, JPEG or WebP, at most 1 MB. It is drawn anew, 40 pixels high at most."),
        "languages": N_(
            "One in a line, the first is the fallback; en and de are translated. The browser chooses among them."
        ),
        "enrollment.self_enrollment": N_("If not, every enrollment needs a request from the helpdesk."),
        "enrollment.self_enrollment_for": N_(
            "Usernames or @domains of e-mail addresses, one in a line. Empty: everybody."
        ),
        "enrollment.request_lifetime_days": N_("1 to 90. Invitations sent before keep their time."),
        "enrollment.devices_per_person": N_("How many managed devices a person may have at a time. 0: any number."),
        "enrollment.minimum_ios": N_("Older devices are asked to update first. 13.1 is the first that can."),
        "enrollment.offer_corporate": N_("Their journey ends there, and the helpdesk goes on with them."),
        "enrollment.email_as_managed_apple_account": N_(
            "Only if your Managed Apple Accounts are named like e-mail addresses."
        ),
        "passcode.tries": N_("1 to 10; after that a new one has to be sent."),
        "passcode.resend_seconds": N_("How long an employee waits before asking for another."),
        "passcode.sends": N_("For one request; after that only the helpdesk can send."),
        "passcode.lifetime_minutes": N_(
            "0: as long as its request, since it comes in the same mail. A stricter company takes 10; the "
            "employee sends a new one with one tap."
        ),
        "passcode.shown_to_helpdesk": N_("To read it out when no mail arrives. Each time is in the audit trail."),
        "profile.lifetime_minutes": N_("Apple deletes a profile that is not installed after 8 minutes."),
        "profile.certificate_days": N_("7 to 3650. It is not renewed: then the owner enrolls again."),
        "mdm.push_identity": N_(
            "From identity.apple.com, PKCS#12 or PEM. It wakes devices; without it they come only by "
            "themselves. Renew it each year with the same Apple Account, or every device has to enroll again."
            " Kept encrypted."
        ),
        "mdm.refresh_hours": N_(
            "1 to 720. Its answer shows that it is still there, and brings what got lost on the way."
        ),
        "mdm.apple_business": N_("Apple's own address; another one only for tests."),
        "apps.enabled": N_(
            "Admins then give work apps to people under Work apps. Switched off again, the apps are removed from "
            "devices and their licenses given back."
        ),
        "apps.declared": N_(
            "On iPhones with iOS 17.2 or later the device itself keeps the app there and reports how far it is. Not "
            "tried on real iPhones yet. Apps that a device already has stay as they came."
        ),
        "apps.service": N_("Apple's own address; another one only for tests. The content token is asked for anew."),
        "apps.store": N_("Apple's own address; another one only for tests. The content token is asked for anew."),
        "policies.enabled": N_(
            "Admins then write policies under Policies, and devices get them. Switched off again, they are taken from "
            "every device."
        ),
        "mdm.declarative": N_(
            "From iOS 15 on they tell what changed (iOS, passcode, work apps), and what became of what is declared."
        ),
        "maas360.host": N_("Empty: guessed from the first digit of the billing ID."),
        "maas360.billing_id": N_("The number of your MaaS360 account."),
        "maas360.platform_id": N_("From IBM, with the access key; usually 3."),
        "maas360.app_id": N_("From IBM Support, or in MaaS360 under Setup, Web Services API."),
        "maas360.app_version": N_("From IBM, with the app ID; usually 1.0."),
        "maas360.user_domain": N_("Only for people who are added. Empty: none."),
        "maas360.app_access_key": N_("Kept encrypted, never shown again."),
        "maas360.username": N_("One for scripts alone, with no more rights than docs/backends.md names."),
        "maas360.password": N_("Kept encrypted, never shown again."),
        "maas360.authentication": N_("2.0 renews its token; 1.0 signs in anew each time."),
        "maas360.discovery_url": N_(
            "The address that MaaS360 names for account-driven enrollment. The portal tells it to iPhones of people "
            "whose journey is done, and to nobody else. Empty: nobody enrolls from Settings."
        ),
        "maas360.enrollment_url": N_("Often https://m.dm/ and your corporate identifier. Empty: they cannot enroll."),
        "maas360.console_url": N_("A link for admins and the helpdesk: policies and apps are set there."),
        "maas360.add_users": N_("Else people who are missing there are sent to the helpdesk."),
        "maas360.user_group": N_("Its identifier there. Empty: none."),
        "maas360.policy": N_("As MaaS360 calls it. Empty: its own rules decide."),
        "maas360.handover_minutes": N_("5 to 1440. After that they begin the last step again."),
        "maas360.timeout_seconds": N_("1 to 60."),
        "maas360.names": N_(
            "Some names of MaaS360's web services could not be verified. One in a line, like "
            "add_user.email=emailAddress; docs/backends.md lists them."
        ),
        "enrollment.silent_days": N_("A removed work account is not always told. 0: never."),
        "profile.signing_identity": N_(
            "PKCS#12 (.p12, .pfx) or PEM with its intermediates. With one of a public CA, iPhones show the "
            "profile as verified. Kept encrypted."
        ),
        "profile.signing_certificate": N_(
            "Only if none is uploaded. PEM on this server: the signer first, then its intermediates. Empty: a"
            " signer of the portal's own CA."
        ),
        "profile.signing_key": N_("PEM on this server."),
        "scep.accept_legacy": N_("Reads SHA-1, 3DES and DES from old clients; iPhones do not need it."),
        "account_driven.domains": N_(
            "Whose accounts may enroll here, one in a line. Empty: the domains of all Managed Apple Accounts."
        ),
        "account_driven.prefer": N_(
            "With a profile from Safari, from Settings, or from Settings once the domain was checked."
        ),
        "account_driven.minimum_ios": N_("Older devices are asked to update first. 15.0 is the first that can."),
        "account_driven.token_minutes": N_("1 to 60. After that its owner signs in again."),
        "account_driven.sign_in_again_days": N_("For devices that are managed already. 0: never."),
        "account_driven.device_roots": N_(
            "PEM on this server; a device's signature must lead to one of them. Empty: any."
        ),
        "account_driven.oauth2_provider": N_(
            "Short name of a provider, for iOS 16 and later. Empty: our own page in Settings."
        ),
        "account_driven.oauth2_client_id": N_(
            "A public client without a secret, registered at the provider for devices."
        ),
        "managed_apple_account.source": N_("How the portal learns each person's account."),
        "managed_apple_account.pattern": N_("Made of {username} and {domain}."),
        "managed_apple_account.domain": N_("Empty: that of the e-mail address."),
        "managed_apple_account.domain_map": N_("One in a line, like example.com=work.example.com."),
        "sign_in.passwords": N_("Off: only single sign-on. Staff can always use theirs."),
        "sign_in.password_length": N_("8 to 64. NIST asks for 15 where a password is all there is."),
        "sign_in.account_tries": N_("Then the account waits."),
        "sign_in.address_tries": N_("Many people can share one address; be generous."),
        "sign_in.window_minutes": N_("How long a wrong try is remembered."),
        "session.idle_minutes": N_("Without opening a page. 1 to 480."),
        "session.absolute_hours": N_("In any case, after signing in. 1 to 24."),
        "session.staff_idle_minutes": N_("Without opening a page. 1 to 480."),
        "ldap.servers": N_("One in a line, the preferred first: ldaps://dc1.example.com. Empty: no directory."),
        "ldap.ca_file": N_("PEM on this server. Empty: the system's."),
        "ldap.bind": N_("Search with the service account first, or bind as the person at once."),
        "ldap.service_dn": N_("Its DN. Empty: anonymous."),
        "ldap.service_password": N_("Kept encrypted, never shown again."),
        "ldap.user_dn": N_("For binding directly: {username}@example.com, or a DN with {username} in it."),
        "ldap.base_dn": N_("A DN, like ou=people,dc=example,dc=com."),
        "ldap.user_filter": N_("With {username} where the name goes."),
        "ldap.username_attribute": N_("In Active Directory: sAMAccountName."),
        "ldap.subject_attribute": N_("In Active Directory: objectGUID."),
        "ldap.name_attribute": N_("In Active Directory: displayName."),
        "ldap.email_attribute": N_("Where invitations are sent."),
        "ldap.phone_attribute": N_("Empty: not read."),
        "ldap.locale_attribute": N_("Language of mails. Empty: not read."),
        "ldap.managed_apple_account_attribute": N_("Empty: see the page about Managed Apple Accounts."),
        "ldap.group_base_dn": N_("Empty: where people are searched."),
        "ldap.group_filter": N_("With {dn} where the member goes."),
        "ldap.nested_groups": N_("Slower, but right where groups hold groups."),
        "ldap.required_group": N_("DN; nobody else may sign in. Empty: everybody."),
        "ldap.helpdesk_group": N_("DN; its members see the requests."),
        "ldap.admin_group": N_("DN; its members may change everything here."),
        "ldap.timeout_seconds": N_("1 to 30, for connecting and for each answer."),
        "mail.transport": N_("Files are for trying things out: nobody receives them."),
        "mail.sender": N_("An address, or a name with the address in angle brackets."),
        "mail.host": N_("Its name; its certificate is always checked against it."),
        "mail.port": N_("587 with STARTTLS, 465 with TLS."),
        "mail.security": N_("None only where nobody else is on the wire."),
        "mail.username": N_("Empty: without signing in."),
        "mail.password": N_("Kept encrypted, never shown again."),
        "mail.timeout_seconds": N_("1 to 120, for connecting and for each answer."),
        "texts.privacy_lead": N_("The lists of what IT can and cannot see stay: they are what Apple allows."),
        "texts.privacy_more": N_("For instance who to ask about privacy."),
        "texts.overview_more": N_("For instance where to find the Managed Apple Account's password."),
        "texts.finish_more": N_("For instance which apps to expect."),
        "texts.mail_invitation": N_("Link, passcode and expiry always follow."),
        "texts.sms_invitation": N_("Short, with {link} in it. The passcode is never in it."),
        "notifications.helpdesk": N_("To the helpdesk's e-mail address. All of it is in the list of requests, too."),
        "sms.transport": N_("Files are for trying things out: nobody receives them."),
        "sms.url": N_("Where it takes messages, https://."),
        "sms.format": N_("As the gateway's documentation says."),
        "sms.to_field": N_("Often to, recipient or phone."),
        "sms.text_field": N_("Often text, body or message."),
        "sms.fields": N_("One in a line, like from=Example. They can be read here and in the history, so no secrets."),
        "sms.authorization_secret": N_("Whole, like Bearer and the token. Kept encrypted, never shown again."),
        "sms.timeout_seconds": N_("1 to 60."),
        "texts.mail_passcode": N_("The passcode always follows."),
        "retention.closed_requests_days": N_(
            "Counted from the day it ended. Times and events stay; the account and every detail go. 0: kept."
        ),
        "retention.mail_days": N_("Only that and when; the mail itself is emptied when it is sent."),
        "retention.commands_days": N_(
            "On a device's page, once they are over; 31 or more. The audit trail keeps what was ordered and answered."
        ),
        "name": N_(
            "Small letters, digits, hyphens. Part of addresses, so it never changes; empty it to leave this "
            "provider out."
        ),
        "title": N_("As people call it, like Example Sign-In."),
        "issuer": N_("Its address, https://."),
        "client_secret": N_("Kept encrypted, never shown again. Empty for a public client."),
        "scopes": N_("Separated by spaces; openid is needed."),
        "logo": N_("PNG, JPEG or WebP on this server. Empty: none."),
        "domains": N_("One in a line: who types an address there goes to this provider. Empty: a button."),
        "managed_apple_account_claim": N_("Empty: not read."),
        "groups_claim": N_("Empty: not read."),
        "required_group": N_("As the claim names it. Empty: none."),
        "helpdesk_group": N_("As the claim names it. Empty: none."),
        "admin_group": N_("As the claim names it. Empty: none."),
        "second_factor": N_("Values of acr or amr, one in a line; whoever has one needs no second one here."),
    },
    otherwise="",
)

CHOICE = Labels(
    {
        "account_driven.prefer auto": N_("From Settings once the domain works"),
        "account_driven.prefer profile": N_("With a profile"),
        "account_driven.prefer account": N_("From Settings"),
        "managed_apple_account.source attribute": N_("An attribute or claim"),
        "managed_apple_account.source email": N_("The e-mail address"),
        "managed_apple_account.source pattern": N_("A pattern"),
        "managed_apple_account.source import": N_("Imported lists only"),
        "ldap.bind search": N_("Search, then bind"),
        "ldap.bind direct": N_("Bind at once"),
        "notifications.helpdesk corporate": N_("somebody says that the company owns the device"),
        "notifications.helpdesk no_managed_apple_account": N_(
            "somebody without a Managed Apple Account wanted to begin"
        ),
        "notifications.helpdesk passcode_locked": N_("a passcode is locked after too many tries"),
        "notifications.helpdesk device_refused": N_("a device is refused"),
        "notifications.helpdesk mail_failed": N_("a mail cannot be delivered for good"),
        "notifications.helpdesk device_left": N_("somebody ends their enrollment on the device"),
        "sms.transport none": N_("No text messages"),
        "sms.transport http": N_("A gateway"),
        "sms.format json": "JSON",
        "sms.format form": N_("A form"),
        "mail.transport file": N_("Files in the data folder"),
        "sms.transport file": N_("Files in the data folder"),
        "mail.transport smtp": N_("A mail server"),
        "maas360.authentication 2.0": "2.0",
        "maas360.authentication 1.0": "1.0",
        "mail.security none": N_("None"),
        "mail.security starttls": "STARTTLS",
        "mail.security tls": "TLS",
    }
)
"""By name of the setting and its value, with a space between."""

PROBLEM = Labels(
    {
        "int_parsing": N_("Enter a whole number."),
        "int_type": N_("Enter a whole number."),
        "int_from_float": N_("Enter a whole number."),
        "greater_than_equal": N_("Enter %(least)s or more."),
        "less_than_equal": N_("Enter %(most)s or less."),
        "string_too_short": N_("This cannot be empty."),
        "too_short": N_("This cannot be empty."),
        "needed": N_("This cannot be empty."),
        "string_too_long": N_("At most %(count)s characters."),
        "literal_error": N_("Choose one of the answers."),
        "time_zone": N_("There is no such time zone. They are called like Europe/Berlin."),
        "accent_contrast": N_(
            "That colour is too light: its contrast is %(ratio)s to 1, and text needs 4.5 to be read by "
            "everyone. Choose a darker one."
        ),
        "minimum_ios_early": N_("User Enrollment came with iOS 13.1; nothing older can enroll."),
        "ldap_server": N_("Write each server like ldaps://dc1.example.com, or ldap:// for StartTLS."),
        "needs_username": N_("{username} is missing: it says where the name goes."),
        "needs_dn": N_("{dn} is missing: it says where the member goes."),
        "issuer_https": N_("An issuer begins with https://."),
        "groups_claim": N_("A group is named, but not the claim that tells groups."),
        "provider_twice": N_("Two providers have the same short name."),
        "unknown_provider": N_("There is no provider of that name."),
        "logo_too_large": N_("That file is larger than 1 MB."),
        "logo_not_a_picture": N_(
            "That is no PNG, JPEG or WebP picture. An SVG can carry programs, so it is not taken."
        ),
        "logo_too_many_pixels": N_("That picture has more than 16 million pixels. Make it smaller first."),
        "text_link": N_("{link} is missing: without it nobody can begin."),
        "sms_url": N_("A gateway's address begins with https://."),
        "text_variable": N_("%(variable)s does not exist. This text may name %(known)s."),
        "identity_large": N_("That file is larger than 64 KB; a certificate with its key is not."),
        "identity_unreadable": N_("That is neither PKCS#12 nor PEM."),
        "identity_passphrase": N_("The passphrase does not open that file."),
        "identity_key": N_("The private key is missing in that file."),
        "identity_other_key": N_("The private key does not belong to any certificate in that file."),
        "identity_rsa": N_("The key has to be RSA: not every iPhone takes profiles signed otherwise."),
        "identity_no_topic": N_("That is no MDM push certificate: it names no topic."),
        "identity_other_topic": N_(
            "That certificate has another topic than the one in use: every managed device would have to "
            "enroll again. Renew the old one at identity.apple.com, or remove it here first if that is what "
            "you want."
        ),
        "identity_expired": N_("That certificate has expired, or is not valid yet."),
        "no_file": N_("There is no such file on the server, or the portal may not read it."),
        "https": N_("The address begins with https://."),
        "string_pattern_mismatch": N_("This is not in the form that is asked for."),
    }
)

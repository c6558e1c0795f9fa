"""Managed devices: what is known of them, what they were asked, what cannot be asked."""

from portal.wording import N_, Labels

ATTRIBUTE = Labels(
    {
        "AvailableDeviceCapacity": N_("Free capacity (GB)"),
        "DeviceCapacity": N_("Capacity (GB)"),
        "BuildVersion": N_("Build of iOS"),
        "SupplementalBuildVersion": N_("Build of the security response"),
        "OSVersion": N_("iOS version"),
        "Model": N_("Model number"),
        "ModelName": N_("Device type"),
        "ProductName": N_("Model"),
        "device.model.marketing-name": N_("Model name"),
        "passcode.is-present": N_("Has a passcode"),
        "passcode.is-compliant": N_("Passcode meets the rules"),
        "mdm.enrollment-type": N_("Kind of enrollment"),
        "ManagedStatus": N_("State in the device management"),
        "Ownership": N_("Ownership"),
        "EnrollmentMode": N_("Kind of enrollment"),
        "Policy": N_("Policy"),
        "Compliance": N_("Keeps to the policy"),
        "PasscodeCompliance": N_("Passcode keeps to the policy"),
        "SelectiveWipe": N_("Removal of work data"),
    }
)

COMMAND = Labels(
    {
        "DeviceInformation": N_("Read attributes"),
        "ProfileList": N_("Read profiles"),
        "DeclarativeManagement": N_("Look at what is declared"),
        "DeviceLock": N_("Lock the screen"),
        "ManagedApplicationList": N_("Read work apps"),
        "CertificateList": N_("Read certificates"),
        "InstallApplication": N_("Install a work app"),
        "RemoveApplication": N_("Remove a work app"),
        "Settings": N_("Configure work apps"),
        "InstallProfile": N_("Install a profile"),
        "RemoveProfile": N_("Remove a profile"),
        "RemoveWorkData": N_("Remove work data"),
        "SelectiveWipe": N_("Remove work data"),
        "RevokeSelectiveWipe": N_("Give work data back"),
        "RemoveControl": N_("Remove control"),
        "SendMessage": N_("Send a message"),
        "Refresh": N_("Read again"),
        "ChangePolicy": N_("Set the policy"),
    }
)

COMMAND_STATE = Labels(
    {
        "queued": N_("waits for the device"),
        "sent": N_("sent"),
        "not_now": N_("device said: not now"),
        "acknowledged": N_("done"),
        "answer_lost": N_("the answer was lost"),
        "dropped": N_("not needed any more"),
        "failed": N_("not taken by the device management"),
        "error": N_("refused by the device"),
        "format_error": N_("refused by the device"),
    }
)

FORBIDDEN = Labels(
    {
        "whole_device": N_("It would reach the whole device, which belongs to its owner."),
        "passcode": N_("It would reach its owner's passcode."),
        "location": N_("It would tell where its owner is."),
        "system_update": N_("Updates of iOS are for its owner to decide."),
        "personal_account": N_("It would reach its owner's own Apple Account."),
        "personal_settings": N_("It would reach its owner's own settings."),
        "shared_device": N_("It is for devices that several people share."),
        "query": N_("Apple does not tell that in user enrollment."),
        "setting": N_("Apple does not allow that setting in user enrollment."),
        "personal_app": N_("A personal app cannot be taken over."),
        "managed_elsewhere": N_("The device management that enrolled the device does not take it from here."),
        "hidden_command": N_("It hides another command among its keys."),
        "unreadable": N_("That is no configuration profile."),
        "too_large": N_("A profile has at most 512 KB."),
        "own_profile": N_("It has the identifier of the enrollment itself."),
        "removal": N_("Its owner could not remove it."),
        "payload": N_("The profile has a part that Apple does not allow in user enrollment."),
        "restriction": N_("The profile has a key that Apple does not allow in user enrollment."),
    },
    otherwise=N_("User enrollment does not allow it."),
)

DISCOVERY = Labels(
    {
        "unreachable": N_("It does not answer over https."),
        "timeout": N_("It does not answer in time."),
        "tls": N_("Its certificate is not trusted."),
        "not_https": N_("A redirect leads away from https; iPhones do not follow it."),
        "redirects": N_("It redirects too often."),
        "query_lost": N_("The redirect loses the query: it has to repeat user-identifier and model-family."),
        "other_domain": N_("The portal is reached, but does not know this domain."),
        "status": N_("The address is not served there."),
        "content_type": N_("The answer has to be application/json."),
        "not_json": N_("The answer is not what iPhones understand."),
        "other_server": N_("It leads to another server."),
    }
)
"""What is wrong with a domain's service discovery."""

OUTAGE = Labels(
    {
        "timeout": N_("no answer in time"),
        "tls": N_("its certificate is not trusted"),
        "service_password": N_("it does not accept the portal's own password"),
        "busy": N_("it says that it is busy"),
        "issuer": N_("it is set up wrongly (%(why)s)"),
        "metadata": N_("it is set up wrongly (%(why)s)"),
        "keys": N_("it is set up wrongly (%(why)s)"),
        "mapping": N_("it is set up wrongly (%(why)s)"),
        "search": N_("it is set up wrongly (%(why)s)"),
    },
    otherwise=N_("no answer"),
)
"""Why a source of credentials cannot be asked."""

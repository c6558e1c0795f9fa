"""Policies in the file of the settings, and for programs."""

import re
import tomllib

import pytest

from portal.models import Device
from portal.people.audiences import Line
from portal.policies import portable
from portal.policies.content import new_part
from portal.policies.portable import NotReadable, Written
from portal.settings import ROOT
from portal.settings.references import Sources
from portal.storage import policies, policy_files
from tests.factories import BASE
from tests.pages import Browser
from tests.policies.conftest import EVERYBODY, mail, passcode, restrictions, wifi

WEB_CLIP = "com.apple.webClip.managed"


@pytest.fixture
def flask(app):
    """Runs a command of the portal."""

    def run(*arguments, **environment):
        return app.test_cli_runner().invoke(args=[str(each) for each in arguments], env=environment)

    return run


def sources(**environment):
    return Sources(environment, ROOT / "var")


def exported(flask):
    """The policies in what ``config export`` prints, and all of it."""
    text = flask("config", "export").output
    return tomllib.loads(text).get("policy", []), text


def test_what_is_exported_comes_in_again_and_holds_no_secret(held_policies, flask, company, tmp_path):
    company.person("erika")
    icon = new_part(WEB_CLIP, {"Label": "Intranet", "URL": "https://intranet.example.com", "Icon": b"\x89PNG"})
    lines = (*EVERYBODY, Line("out", "group", "oidc:Interns"), Line("pilot", "person", company.person("max").id))
    policy = held_policies.make("Basics", wifi(), mail(), passcode(), restrictions(allowScreenShot=False), icon,
                                audience=lines)  # fmt: skip
    told, text = exported(flask)
    assert "secret for Wi-Fi" not in text
    assert told[0]["audience"] == ["everybody", "except group oidc:Interns", "trial person max"]
    file = tmp_path / "portal.toml"
    file.write_text(text)
    assert flask("config", "diff", file).exit_code == 0
    file.write_text(text.replace('"Work"', '"Elsewhere"'))
    refused = flask("config", "import", file)
    assert (refused.exit_code, "would be sent elsewhere" in refused.output) == (1, True)
    file.write_text(text.replace("allowScreenShot = false", "allowScreenShot = true"))
    assert 'policy "Basics": content' in flask("config", "diff", file).output
    assert "1 policies would change." in flask("config", "import", "--dry-run", file).output
    assert exported(flask)[1] == text
    assert "1 policies changed." in flask("config", "import", file).output
    with held_policies.portal.database.session() as session:
        assert policies.find(session, policy).version == 2
        parts = policies.opened(session, held_policies.portal.vault, policy, 2)
    values = {each.type: each.values for each in parts}
    assert values["com.apple.wifi.managed"]["Password"] == "secret for Wi-Fi"
    assert values[WEB_CLIP]["Icon"] == b"\x89PNG"


def test_the_demo_company_s_policies_come_in(held_policies, flask):
    file = ROOT / "config" / "demo-policies.toml"
    assert "nothing stands where this points to" in flask("config", "import", file).output
    assert "1 policies changed." in flask("config", "import", file, DEMO_WIFI_PASSWORD="from outside").output
    assert "0 policies changed." not in flask("config", "diff", file, DEMO_WIFI_PASSWORD="from outside").output
    with held_policies.portal.database.session() as session:
        (written,) = policy_files.all_written(session, held_policies.portal.vault)
    assert (written.name, written.audience, len(written.parts)) == ("Work basics", ("everybody",), 4)


PART = {"type": "com.apple.wifi.managed", "values": {"SSID_STR": "Work", "EncryptionType": "None"}}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, "each policy needs a name"),
        ("text", "each policy needs a name"),
        ({"name": "A", "parts": []}, "there is no parts"),
        ({"name": "A", "audience": "everybody"}, "audience is a list"),
        ({"name": "A", "part": ["x"]}, "array of tables"),
        ({"name": "A", "part": [{"type": "com.apple.mdm"}]}, "no payload that a policy may carry"),
        ({"name": "A", "part": [PART | {"values": []}]}, "values is a table"),
        ({"name": "A", "part": [PART | {"id": "x"}]}, "id is a UUID"),
        ({"name": "A", "part": [PART | {"values": {"SSID_STR": "x\x0b", "EncryptionType": "None"}}]}, "control"),
        ({"name": "A", "part": [PART | {"values": PART["values"] | {"Password": "plain"}}]}, "by reference"),
        ({"name": "A", "part": [PART | {"values": PART["values"] | {"Password": {"stored": True}}}]}, "nothing stands"),
        (
            {"name": "A", "part": [PART | {"values": PART["values"] | {"Password": {"file": "/none"}}}]},
            "nothing stands",
        ),
        ({"name": "A", "part": [{"type": WEB_CLIP, "values": {"Icon": {"data": "no!"}}}]}, "Base64"),
        ({"name": "A", "part": [PART | {"values": PART["values"] | {"Password": {"env": ["a"]}}}]}, "nothing stands"),
        (
            {
                "name": "A",
                "part": [{"type": "com.apple.security.pkcs12", "values": {"PayloadContent": {"data": "AA=="}}}],
            },
            "by reference",
        ),
        ({"name": "A", "part": [PART | {"values": PART["values"] | {"PayloadCertificateUUID": "X"}}]}, "certificate"),
        ({"name": "A", "part": [PART | {"values": {"SSID_STR": {"file": "/etc/hostname"}}}]}, "wrong type"),
        ({"name": "A", "part": [PART | {"values": {"SSID_STR": {"env": "HOME"}}}]}, "wrong type"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(told, says):
    with pytest.raises(NotReadable, match=re.escape(says)):
        portable.read([told], lambda _name: (), sources())


ROOT_PART = "com.apple.security.root"


def test_a_stored_secret_does_not_go_by_another_certificate_whoever_stands_before_it():
    root = new_part(ROOT_PART, {"PayloadContent": b"ours"})
    trusts = {"EAPClientConfiguration": {"PayloadCertificateAnchorUUID": [root.uuid], "UserPassword": "secret"}}
    real = wifi("Work", "kept", **trusts)
    told = portable.table(Written("A", (), (root, real)))
    told["part"][0]["values"]["PayloadContent"] = {"data": "dGhlaXJz"}
    decoy = {"type": "com.apple.wifi.managed", "values": {
        "SSID_STR": "Decoy", "EncryptionType": "WPA2", "Password": {"env": "P"},
        "EAPClientConfiguration": {"PayloadCertificateAnchorUUID": [root.uuid]}}}  # fmt: skip
    told["part"].insert(0, decoy)
    with pytest.raises(NotReadable, match="stored secret by this certificate"):
        portable.read([told], lambda _name: (root, real), sources(P="new password"))


def test_nor_by_one_that_was_taken_out_and_came_back_as_another():
    root = new_part(ROOT_PART, {"PayloadContent": b"ours"})
    told = portable.table(Written("A", (), (root, wifi("Work", "kept"))))
    trusts = {"PayloadCertificateAnchorUUID": [root.uuid], "AcceptEAPTypes": [25], "UserPassword": {"env": "P"}}
    told["part"][1]["values"] |= {"Password": {"env": "P"}, "EAPClientConfiguration": trusts}
    (first,) = portable.read([told], lambda _name: (), sources(P="kept secret"))
    without = first.parts[1:]
    again = portable.table(Written("A", (), without))
    again["part"].insert(0, told["part"][0] | {"values": {"PayloadContent": {"data": "dGhlaXJz"}}})
    with pytest.raises(NotReadable, match="stored secret by this certificate"):
        portable.read([again], lambda _name: without, sources())


MOVED = """
[[policy]]
name = "Identity"
audience = ["everybody"]
[[policy.part]]
id = "%s"
type = "com.apple.security.scep"
[policy.part.values]
%s = "https://scep.example.com/"
[policy.part.values.PayloadContent]
URL = "https://evil.example/"
Challenge = { stored = true }
Subject = [[["CN", "x"]]]
Keysize = 2048
"""


@pytest.mark.parametrize("key", ['"PayloadContent.URL"', '"PayloadContent\\\\.URL"'])
def test_a_key_with_a_dot_is_not_what_it_looks_like(held_policies, flask, tmp_path, key):
    """What a secret goes to is compared by where it stands, and two things stood at one place."""
    inside = {"URL": "https://scep.example.com/", "Challenge": "hush", "Subject": [[["CN", "x"]]], "Keysize": 2048}
    part = new_part("com.apple.security.scep", {"PayloadContent": inside})
    held_policies.make("Identity", part)
    file = tmp_path / "portal.toml"
    file.write_text(MOVED % (part.uuid, key))
    done = flask("config", "import", file)
    assert (done.exit_code, "sent elsewhere" in done.output) == (1, True)


def test_the_portal_s_own_secrets_reach_no_phone(held_policies, flask, tmp_path):
    file = tmp_path / "portal.toml"
    file.write_text("""[[policy]]\nname = "A"\naudience = ["everybody"]
[[policy.part]]\ntype = "com.apple.wifi.managed"
values = { SSID_STR = "x", EncryptionType = "WPA2", Password = { env = "PORTAL_LDAP_SERVICE_PASSWORD" } }\n""")
    done = flask("config", "import", file, PORTAL_LDAP_SERVICE_PASSWORD="hush")
    assert (done.exit_code, "the portal's own" in done.output) == (1, True)


def test_a_preshared_key_of_a_vpn_is_never_told(held_policies, flask):
    ike = {"RemoteAddress": "vpn.example.com", "LocalIdentifier": "a", "RemoteIdentifier": "b", "PPKIdentifier": "one",
           "AuthenticationMethod": "None", "PPK": b"postquantum key"}  # fmt: skip
    vpn = {"UserDefinedName": "Work", "VPNType": "IKEv2", "VPNUUID": "9E5E51F4-3D7B-4E0E-8D6C-3B9C9E6C1D10"}
    held_policies.make("VPN", new_part("com.apple.vpn.managed.applayer", vpn | {"IKEv2": ike}))
    (told,), text = exported(flask)
    assert told["part"][0]["values"]["IKEv2"]["PPK"] == {"stored": True}
    assert "cG9zdHF1YW50dW0ga2V5" not in text


def test_the_same_part_in_two_policies_is_two_and_the_same_file_twice_the_same():
    root = new_part(ROOT_PART, {"PayloadContent": b"ours"})
    by_it = wifi(EAPClientConfiguration={"AcceptEAPTypes": [25], "PayloadCertificateAnchorUUID": [root.uuid]})
    told = portable.table(Written("A", (), (root, by_it)))
    told["part"][1]["values"]["Password"] = {"env": "P"}
    copies = [
        portable.read([told | {"name": name}], lambda _name: (), sources(P="x"))[0].parts for name in ("B", "C", "B")
    ]
    assert copies[0] == copies[2]
    assert len({each.uuid for parts in copies for each in parts}) == 4
    trusted = copies[0][1].values["EAPClientConfiguration"]["PayloadCertificateAnchorUUID"]
    assert trusted == [copies[0][0].uuid]
    (kept,) = portable.read([told], lambda _name: (root, by_it), sources(P="x"))
    assert [each.uuid for each in kept.parts] == [root.uuid, by_it.uuid]


def test_a_policy_stands_once_in_a_file():
    with pytest.raises(NotReadable, match="twice"):
        portable.read([{"name": "A"}, {"name": "a"}], lambda _name: (), sources())


@pytest.mark.parametrize("line", ["", "nobody", "group", "person", "except everybody", "person unknown", "everybody x",
                                  "group \ud800", "group a\x00b", "group " + "x" * 300, "person \ud800"])  # fmt: skip
def test_a_line_that_says_nothing_about_who_gets_it(held_policies, line):
    with held_policies.portal.database.session() as session, pytest.raises(NotReadable):
        policy_files.lines(session, "A", [line])


# --- for programs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def call(app, company, clock):
    """Calls the API with a token for policies."""
    company.person("ada", "admin")
    admin = Browser(app).staff_sign_in("ada", clock())
    admin.get("/admin/tokens")
    admin.post("/admin/tokens", admin.filled() | {"name": "Sync", "scope.policies": "yes"})
    token = admin.soup.find(id="token").text

    def run(method, path, **more):
        headers = {"Authorization": f"Bearer {token}"}
        return app.test_client().open(path, method=method, base_url=BASE, headers=headers, **more)

    return run


def test_a_program_reads_policies_and_says_who_gets_them(held_policies, call, company, enrolled):
    policy = held_policies.make("Basics", wifi(), audience=())
    held, _ = enrolled()
    (told,) = call("GET", "/api/policies").json["policies"]
    assert told == {"id": policy, "name": "Basics", "version": 1, "trial_version": None, "audience": [], "devices": {}}
    one = call("GET", f"/api/policies/{policy}")
    assert one.json["parts"][0]["values"]["Password"] == {"stored": True}
    answer = call("POST", f"/api/policies/{policy}/audience", json={"add": ["person erika", "group oidc:Sales"]})
    assert answer.json == {"id": policy, "audience": ["group oidc:Sales", "person erika"]}
    held_policies.round()
    held.connect()
    assert f"policy.{policy}" in held.declared.profiles
    assert call("GET", "/api/policies").json["policies"][0]["devices"] == {"applied": 1}
    held_policies.ticks.forward(seconds=1)
    call("POST", f"/api/policies/{policy}/audience", json={"remove": ["person erika"]})
    held_policies.round()
    held.connect()
    assert held.declared.profiles == {}


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/api/policies/none", {}, 404),
        ("POST", "/api/policies/none/audience", {"json": {}}, 404),
        ("POST", "/api/policies/{}/audience", {"json": {"add": "everybody"}}, 400),
        ("POST", "/api/policies/{}/audience", {"json": {"add": [1]}}, 400),
        ("POST", "/api/policies/{}/audience", {"json": ["x"]}, 400),
        ("POST", "/api/policies/{}/audience", {"json": {"add": ["person nobody"]}}, 422),
        ("POST", "/api/policies/{}/audience", {"json": {"add": ["x" * 1000]}}, 400),
    ],
)
def test_what_a_program_asks_wrongly_is_said(held_policies, call, method, path, more, status):
    policy = held_policies.make("Basics", wifi())
    assert call(method, path.format(policy), **more).status_code == status


def test_a_closed_room_is_closed_for_programs(held_policies, call, configure):
    policy = held_policies.make("Basics", wifi())
    configure(policies__enabled=False)
    assert call("GET", "/api/policies").status_code == 404
    assert call("GET", f"/api/policies/{policy}").status_code == 404


# --- in numbers, and in helpdesk's sentence ---------------------------------------------------------------------------


def test_what_became_of_policies_is_counted_and_said(held_policies, enrolled, app, company, clock, call):
    policy = held_policies.make('The "basics"', wifi())
    held, device = enrolled()
    clock.forward(minutes=1)
    admin = Browser(app).staff_sign_in("ada", clock())
    admin.get("/admin")
    assert "1 applied" in admin.text
    assert "applied,1" in admin.client.get("/admin/dashboard.csv", base_url=BASE).text
    admin.get("/admin/tokens")
    admin.post("/admin/tokens", admin.filled(holding="name") | {"name": "Watcher", "scope.metrics": "yes"})
    token = admin.soup.find(id="token").text
    numbers = app.test_client().get("/metrics", base_url=BASE, headers={"Authorization": f"Bearer {token}"}).text
    assert 'portal_policy_devices{policy="The \\"basics\\"",state="applied"} 1' in numbers
    with company.portal.database.session() as session:
        request = session.get_one(Device, device).request_id
    admin.get(f"/helpdesk/requests/{request}")
    assert "Nothing is left to do." in admin.text
    held_policies.publish(policy, wifi("Two"))
    held_policies.round()
    admin.get(f"/helpdesk/requests/{request}")
    assert "is on its way" in admin.text
    held.declared.invalid.add(f"policy.{policy}")
    held.connect()
    admin.get(f"/helpdesk/requests/{request}")
    assert "did not take the policy" in admin.text

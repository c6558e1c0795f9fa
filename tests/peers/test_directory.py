"""The directory source against OpenLDAP."""

import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.directory import Directory
from portal.credentials.ldap_connections import Entry, ad_problem
from portal.settings import load
from portal.settings.schema import Ldap
from portal.simulator.server import free_port
from tests.peers.slapd import BASE, PASSWORD, SERVICE_DN, Slapd, needs_slapd

pytestmark = needs_slapd


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    yield server
    server.kill()


def rules(slapd, **changes) -> Ldap:
    return load(ldap=slapd.settings(**changes)).ldap


@pytest.fixture
def make(slapd):
    """Make a directory source; closed at the end."""
    made = []

    def directory(**changes):
        made.append(Directory(rules(slapd, **changes)))
        return made[-1]

    yield directory
    for each in made:
        each.close()


@pytest.fixture
def directory(make):
    return make()


def test_the_right_password_tells_who_it_is(directory):
    found = directory.check("dora", PASSWORD)
    assert (found.source, found.username, found.name, found.email) == ("directory", "dora", "Dora", "dora@example.com")
    assert (found.phone, found.locale, found.managed_apple_account) == (
        "+49 151 0000000", "de-DE", "dora@work.example.com",
    )  # fmt: skip
    assert len(found.subject) == 36  # entryUUID: a rename does not change it


@pytest.mark.parametrize("username", ["dora", "DORA", "dora@example.com", "EXAMPLE\\dora"])
def test_people_may_type_their_name_in_several_ways(directory, username):
    assert directory.check(username, PASSWORD).username == "dora"


@pytest.mark.parametrize(
    ("username", "password"),
    [("dora", "wrong"), ("nobody", PASSWORD), ("dora", ""), ("", PASSWORD), ("  ", PASSWORD), ("dora", "\x00")],
)
def test_what_does_not_fit_is_none(directory, username, password):
    assert directory.check(username, password) is None


def test_nobody_costs_the_same_steps_as_somebody(make, monkeypatch):
    steps = {}
    for username in ("dora", "nobody"):
        directory, seen = make(), []
        for owner, name in ((directory.connections, "bind"), (directory, "_search_person")):
            real = getattr(owner, name)
            spy = lambda *given, name=name, real=real, seen=seen: seen.append(name) or real(*given)  # noqa: E731
            monkeypatch.setattr(owner, name, spy)
        assert directory.check(username, "wrong") is None
        steps[username] = seen
    assert steps["dora"] == steps["nobody"] == ["bind", "_search_person", "bind"]


INJECTIONS = ["*", "d*", "dora)(uid=*", "*)(objectClass=*", "dora)(|(uid=*", "\\2a", "dora\x00", "(", ")", "\\",
              "do\\72a", "dora)(!(userPassword=x", "*)(uid=dora))(|(uid=*", "dora,ou=people", "ⅾora*",
              "x" * 5000]  # fmt: skip


@pytest.mark.parametrize("username", INJECTIONS, ids=[text[:12] for text in INJECTIONS])
@pytest.mark.parametrize("bind", ["search", "direct"])
def test_nothing_typed_becomes_part_of_a_filter_or_a_name(make, username, bind):
    directory = make(bind=bind, user_dn=f"uid={{username}},ou=people,{BASE}")
    assert directory.check(username, PASSWORD) is None


def test_names_with_special_characters_still_sign_in(make):
    assert make().check("o'brien (x)*", PASSWORD).managed_apple_account == "obrien@work.example.com"


def test_direct_bind_needs_no_service_account(make):
    directory = make(bind="direct", user_dn=f"uid={{username}},ou=people,{BASE}", service_dn="", service_password="")
    assert directory.check("dora", PASSWORD).name == "Dora"
    assert directory.check("dora", "wrong") is None


@pytest.mark.parametrize(
    ("template", "typed", "bound"),
    [
        ("{username}@example.com", "dora", "dora@example.com"),
        ("{username}@example.com", "dora@example.com", "dora@example.com"),
        ("{username}@example.com", "EXAMPLE\\dora", "dora@example.com"),
        ("EXAMPLE\\{username}", "dora", "EXAMPLE\\dora"),
        ("uid={username},ou=people", "a,b=c", "uid=a\\,b\\=c,ou=people"),
    ],
)
def test_direct_bind_forms_the_name(slapd, monkeypatch, template, typed, bound):
    seen = []
    directory = Directory(rules(slapd, bind="direct", user_dn=template))
    monkeypatch.setattr(directory.connections, "bind", lambda user, _password: seen.append(user))
    assert directory.check(typed, PASSWORD) is None
    assert seen == [bound]


@pytest.mark.parametrize(
    ("username", "reason"), [("gone", "disabled"), ("late", "expired"), ("fresh", "must_change_password")]
)
def test_accounts_that_may_not_be_used_say_why_only_to_who_knows_the_password(directory, username, reason):
    with pytest.raises(AccountProblem) as problem:
        directory.check(username, PASSWORD)
    assert problem.value.reason == reason
    assert directory.check(username, "wrong") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [("532", "password_expired"), ("533", "disabled"), ("701", "expired"), ("773", "must_change_password"),
     ("52e", None), ("525", None), ("775", None)],
)  # fmt: skip
def test_active_directory_s_bind_errors_are_understood(data, reason):
    message = f"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v2580\x00"
    assert ad_problem(message) == reason


def test_an_ambiguous_name_is_nobody(directory):
    assert directory.check("twin", PASSWORD) is None
    assert directory.check("twin1", PASSWORD).username == "twin1"


def group(name):
    return f"cn={name},ou=groups,{BASE}"


def test_groups_in_groups_count_even_in_circles(make):
    directory = make(required_group=group("ENROLL"), helpdesk_group=group("helpdesk"), admin_group=group("admins"))
    roles = {name: directory.check(name, PASSWORD).role for name in ("dora", "helen", "ada")}
    assert roles == {"dora": "employee", "helen": "helpdesk", "ada": "admin"}
    with pytest.raises(AccountProblem) as problem:
        directory.check("nomaa", PASSWORD)
    assert problem.value.reason == "not_allowed"


def test_without_nesting_only_direct_members_count(make):
    directory = make(required_group=group("enroll"), nested_groups=False)
    assert directory.check("dora", PASSWORD)
    with pytest.raises(AccountProblem):
        directory.check("helen", PASSWORD)


def test_somebody_can_be_found_without_a_password(directory):
    assert directory.find("dora").email == "dora@example.com"
    assert directory.find("gone").username == "gone"
    assert directory.find("nobody") is None


# --- encrypted and verified --------------------------------------------------------------------------------------


def test_starttls_works_and_is_not_optional(make, slapd):
    assert make(servers=[f"ldap://127.0.0.1:{slapd.port}"]).check("dora", PASSWORD)


def test_a_certificate_of_another_ca_is_refused(make, tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-out", tmp_path / "c",
         "-subj", "/CN=other", "-days", "1"], check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(SourceUnavailable) as problem:
        make(ca_file=str(tmp_path / "c")).check("dora", PASSWORD)
    assert problem.value.reason == "tls"


def test_a_certificate_for_another_host_is_refused(make, slapd):
    with pytest.raises(SourceUnavailable) as problem:
        make(servers=[f"ldaps://127.0.0.2:{slapd.tls_port}"]).check("dora", PASSWORD)
    assert problem.value.reason == "tls"


# --- out of reach ------------------------------------------------------------------------------------------------


def test_a_wrong_service_password_is_named(make):
    with pytest.raises(SourceUnavailable) as problem:
        make(service_password="wrong").check("dora", PASSWORD)
    assert problem.value.reason == "service_password"


def test_a_server_that_is_down_is_passed_over_and_asked_last(make, slapd):
    dead = f"ldaps://127.0.0.1:{free_port()}"
    directory = make(servers=[dead, f"ldaps://127.0.0.1:{slapd.tls_port}"])
    assert directory.check("dora", PASSWORD)
    assert directory.connections.in_order()[-1] == dead


def test_a_server_that_never_answers_is_given_up_soon(make):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        began = time.monotonic()
        with pytest.raises(SourceUnavailable) as problem:
            make(servers=[f"ldaps://127.0.0.1:{silent.getsockname()[1]}"], timeout_seconds=1).check("dora", PASSWORD)
    assert problem.value.reason in ("timeout", "tls", "unreachable")
    assert time.monotonic() - began < 5


def test_it_comes_back_after_a_restart_with_idle_connections_in_the_pool(make, slapd):
    directory = make()
    assert directory.check("dora", PASSWORD)
    slapd.kill()
    with pytest.raises(SourceUnavailable):
        directory.check("dora", PASSWORD)
    slapd.start()
    assert directory.check("dora", PASSWORD)


def test_many_threads_share_it_and_leak_nothing(make, slapd):
    directory = make()
    outcomes = []
    lock = threading.Lock()

    def sign_in(number):
        found = directory.check("dora", PASSWORD if number % 3 else "wrong")
        with lock:
            outcomes.append(found is not None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sign_in, range(60)))
    assert (outcomes.count(True), outcomes.count(False)) == (40, 20)
    directory.close()
    deadline = time.monotonic() + 5
    while slapd.connections() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert slapd.connections() == 0


def test_every_attribute_filter_and_base_can_be_another(make):
    other = make(
        user_filter="(sn={username})",
        username_attribute="sn",
        subject_attribute="uid",
        name_attribute="sn",
        email_attribute="uid",
        phone_attribute="preferredLanguage",
        locale_attribute="mobile",
        group_base_dn=f"ou=groups,{BASE}",
        group_filter="(&(objectClass=groupOfNames)(member={dn}))",
        helpdesk_group=f"cn=enroll,ou=groups,{BASE}",
        nested_groups=False,
    )
    found = other.find("dora")
    assert found is not None
    assert (found.username, found.subject, found.name, found.email) == ("dora", "dora", "dora", "dora")
    assert (found.phone, found.locale, found.role) == ("de-DE", "+49 151 0000000", "helpdesk")
    assert make(user_filter="(cn={username} only)").find("dora") is None
    elsewhere = make(group_base_dn=f"ou=people,{BASE}", helpdesk_group=f"cn=enroll,ou=groups,{BASE}")
    assert elsewhere.find("dora").role == "employee"


def test_who_binds_by_a_name_signs_in_as_nobody_else_whom_the_filter_finds(make, monkeypatch):
    directory = make(bind="direct", user_dn=f"uid={{username}},ou=people,{BASE}")
    assert directory.check("dora", PASSWORD).username == "dora"
    another = Entry(SERVICE_DN, {"uid": [b"portal"], "entryuuid": [b"1"]})
    monkeypatch.setattr(directory, "_search_person", lambda *_: another)
    assert directory.check("dora", PASSWORD) is None

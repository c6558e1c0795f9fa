"""No input is a 500: whatever comes, to whatever address, from whomever, is answered in words."""

import json
import re
from io import BytesIO
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from portal.credentials import api_tokens
from portal.models import Device, EnrollmentRequest, Person
from tests.factories import editing, phone
from tests.pages import BASE, Browser

EXAMPLES = 60
"""Of each kind of caller, each a few requests: the suite's share of what a fuzzer could do all night."""
SEEDS = ("", "0", "-1", "²", "१२", "9" * 30, "1e9", "null", "yes", "x" * 300, "\u0000", "\u202e", "\ud800", "%00",
         "../..", "{}", "[]", "a@b", "=1+1", "2026-03-02", "2026-13-45", "EraseDevice", "admin", "helpdesk", "en", "de",
         "<script>", "'; DROP TABLE people; --", "name,\n1", "é" * 40)  # fmt: skip
PARAMETERS = ("q", "before", "after", "part", "kind", "since", "until", "who", "request", "status", "step", "age",
              "source", "sort", "page", "show", "device", "language", "user-identifier", "model-family", "operation",
              "message", "code", "state", "error", "iss", "hint", "next", "by_itself", "line", "attention")  # fmt: skip
FIELDS = ("username", "password", "code", "new", "again", "passcode", "ownership", "acknowledge", "continue", "accept",
          "name", "email", "role", "managed_apple_account", "phone", "confirm", "seen", "forget", "identifier", "note",
          "colleague", "days", "scope.requests", "scope.metrics", "who", "version", "publish_at", "text", "minutes",
          "proof_code", "browser", "verdict", "per_minute", "starts_at", "remind_after_days", "mail.host", "mail.port",
          "company.name", "company.accent", "languages", "texts.privacy_lead.en", "oidc.providers.0.name",
          "oidc.providers.0.issuer", "passcode.tries", "sha256", "locale")  # fmt: skip


@pytest.fixture
def everybody(app, company, clock, portal):
    """A caller of each kind, and ids of what there is."""
    invitation = company.invite(company.person())
    held = phone(app)
    employee = Browser(app).walk_to("profile", invitation)
    held.install(employee.download())
    walking = Browser(app).walk_to("passcode", company.invite(company.person("max")))
    for name, role in (("ada", "admin"), ("hilda", "helpdesk")):
        company.person(name, role)
    with portal.database.transaction() as session:
        scopes = list(api_tokens.SCOPES)
        token = api_tokens.make(editing(portal, session, clock()), "all", scopes)
        ids = [session.query(table).first().id for table in (EnrollmentRequest, Device, Person)]
    program = Browser(app)
    program.headers["Authorization"] = f"Bearer {token}"
    callers = {
        "nobody": Browser(app),
        "employee": walking,
        "helpdesk": Browser(app).staff_sign_in("hilda", clock()),
        "admin": Browser(app).staff_sign_in("ada", clock()),
        "program": program,
    }
    return callers, [*ids, invitation.token]


def forms_token(browser):
    """A good CSRF token, so that what is behind it is reached."""
    for path in ("/staff/passkeys", "/staff/sign-in"):
        answer = browser.client.get(path, base_url=BASE, headers=browser.headers, follow_redirects=True)
        found = re.search(r'(?:data-token|name="csrf_token" value)="([^"]+)"', answer.get_data(as_text=True))
        if found:
            return found[1]
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(SEEDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(SEEDS), inner, max_size=4),
    max_leaves=12,
)
NEAR_JSON = st.fixed_dictionaries(
    {},
    optional={
        "username": JSON,
        "command": st.sampled_from(["DeviceInformation", "Settings", "InstallProfile", "RemoveProfile", "EraseDevice"])
        | JSON,
        "keys": st.dictionaries(
            st.sampled_from(["Queries", "Settings", "Payload", "Identifier", "RequestType", "PIN"]), JSON, max_size=3
        )
        | JSON,
        "credential": JSON,
        "name": JSON,
    },
)
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(SEEDS) | st.text(max_size=20), max_size=6).map(
        lambda fields: ("form", fields)
    ),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(SEEDS) | st.binary(max_size=20), max_size=6).map(
        lambda fields: ("parts", fields)
    ),
    (NEAR_JSON | JSON).map(lambda value: ("json", value)),
    st.sampled_from(["[" * 5000, '{"keys":' * 3000, "\ud800", "\x00", "<plist>" * 400, "x" * 70_000]).map(
        lambda text: ("raw", text)
    ),
)


def _part(value):
    """A file where a field is awaited, or a field."""
    return (BytesIO(value), "a.txt") if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("who", ["nobody", "employee", "helpdesk", "admin", "program"])
def test_no_input_is_a_500(app, everybody, who, monkeypatch):
    callers, ids = everybody
    caller = callers[who]
    routes = [(rule, method) for rule in app.url_map.iter_rules() for method in sorted(rule.methods - {"OPTIONS"})
              if not rule.rule.endswith(("sign-out", "/end", "/erase"))]  # fmt: skip
    token = forms_token(caller)

    @hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def ask(data):
        rule, method = data.draw(st.sampled_from(routes))
        values = st.sampled_from([*ids, *SEEDS])
        path = re.sub(
            r"<(?:\w+:)?\w+>", lambda _: data.draw(values).replace("/", "").replace("?", "") or "x", rule.rule
        )
        query = data.draw(st.dictionaries(st.sampled_from(PARAMETERS), st.sampled_from(SEEDS), max_size=3))
        kind, body = data.draw(BODIES)
        sent = {"headers": {**caller.headers, "X-CSRFToken": token}, "base_url": BASE, "method": method}
        sent["query_string"] = {key: value.encode("utf-8", "surrogatepass") for key, value in query.items()}
        if kind == "form":
            fields = {"csrf_token": token, **body}
            written = {key: quote(value.encode("utf-8", "surrogatepass")) for key, value in fields.items()}
            sent["data"] = "&".join(f"{key}={value}" for key, value in written.items())
            sent["content_type"] = "application/x-www-form-urlencoded"
        elif kind == "parts":
            sent["data"] = {name: _part(value) for name, value in {**body, "csrf_token": token}.items()}
            sent["content_type"] = "multipart/form-data"
        elif kind == "json":
            sent |= {"data": json.dumps(body), "content_type": "application/json"}
        else:
            sent |= {"data": body.encode("utf-8", "surrogatepass"), "content_type": "application/json"}
        answer = caller.client.open(quote(path.encode("utf-8", "surrogatepass"), safe="/"), **sent)
        assert answer.status_code < 500, (method, path, query, kind, body)

    ask()


@pytest.mark.parametrize(
    "path",
    ["/admin/audit?before=%C2%B2", "/admin/audit?before=" + "9" * 30, "/helpdesk?after=%C2%B2",
     "/helpdesk?before=%C2%B2", "/admin/audit?since=%C2%B2&until=9999-12-31", "/admin/audit?until=9999-12-31",
     "/admin/audit.csv?until=9999-12-31"],
)  # fmt: skip
def test_numbers_and_dates_that_are_none_are_no_error(everybody, path):
    callers, _ = everybody
    assert callers["admin"].client.get(path, base_url=BASE, headers=callers["admin"].headers).status_code == 200


def test_a_version_that_is_no_number_is_no_error(everybody):
    callers, _ = everybody
    admin = callers["admin"].get("/admin/settings/company")
    assert admin.send(seen="²").status == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [("/admin/people", "email"), ("/admin/people", "username"), ("/helpdesk/requests", "username"),
     ("/staff/sign-in", "code"),
     ("/admin/tokens", "name"), ("/account/password", "new"), ("/enroll/sign-in", "password")],
)  # fmt: skip
def test_a_file_under_a_field_s_name_is_as_if_nothing_was_typed(everybody, path, field):
    callers, _ = everybody
    admin, token = callers["admin"], forms_token(callers["admin"])
    sent = {"csrf_token": token, field: (BytesIO(b"x"), "a.txt")}
    sending = {"content_type": "multipart/form-data", "base_url": BASE, "headers": admin.headers}
    answer = admin.client.post(path, data=sent, **sending)
    assert answer.status_code in (303, 422)


@pytest.mark.parametrize("version", ["9" * 30, "-1", "x", "²", str(2**63), "0"])
def test_a_version_of_the_settings_that_never_was_is_not_found(everybody, version):
    callers, _ = everybody
    admin = callers["admin"].get("/admin/settings/company")
    assert admin.post(f"/admin/settings/history/{version}/restore", admin.hidden()).status == 404


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_number_that_no_property_list_holds_is_a_bad_request(everybody, number):
    callers, ids = everybody
    program = callers["program"]
    body = f'{{"command": "DeviceInformation", "keys": {{"Queries": [{number}]}}}}'
    answer = program.client.post(
        f"/api/devices/{ids[1]}/commands", data=body, content_type="application/json", base_url=BASE,
        headers=program.headers,
    )  # fmt: skip
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")


@pytest.mark.parametrize("who", ["nobody", "employee", "admin"])
def test_the_head_of_a_page_is_answered_like_the_page(app, everybody, who):
    """Monitors, mail scanners and previews of messages ask for it."""
    caller = everybody[0][who]
    asking = {"base_url": BASE, "headers": caller.headers}
    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and not rule.arguments and rule.endpoint != "safari.profile_file":
            head, page = caller.client.head(rule.rule, **asking), caller.client.get(rule.rule, **asking)
            assert (rule.rule, head.status_code) == (rule.rule, page.status_code)

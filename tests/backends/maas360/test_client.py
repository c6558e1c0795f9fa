"""MaaS360's web services: signing in, what an answer means, paging, resting when it does not answer."""

import functools
import gzip
import json
import threading

import httpx
import pytest

from portal.backends.base import BackendDown
from portal.backends.maas360 import client as module
from portal.backends.maas360.client import Client, Refused, host_of
from portal.backends.maas360.names import CALLS
from portal.settings import load
from portal.simulator.maas360 import BILLING_ID, FakeMaaS360

TENANT = "https://maas360.example"


@pytest.fixture
def tenant():
    return FakeMaaS360(TENANT)


@pytest.fixture
def chosen(tmp_path):
    def choose(**changes):
        base = load(data_dir=tmp_path, public_url="https://portal.example.com").maas360
        return base.model_copy(update={**FakeMaaS360(TENANT).settings(), **changes})

    return choose


@pytest.fixture
def client(tenant, chosen):
    return Client(chosen(), httpx.WSGITransport(app=tenant))


def answering(chosen, *answers):
    """A client whose requests are answered one after the other; with what was asked."""
    asked, left = [], list(answers)

    def answer(request):
        asked.append(request)
        if "authenticate" in request.url.path:
            return httpx.Response(200, json={"authResponse": {"authToken": "t", "errorCode": 0, "refreshToken": "r"}})
        return left.pop(0)

    return Client(chosen(), httpx.MockTransport(answer)), asked


# --- signing in ----------------------------------------------------------------------------------------------------


def test_one_token_serves_many_calls(client, tenant):
    for _ in range(3):
        client.trial()
    assert tenant.calls == ["authenticate", "search", "search", "search"]


def test_an_expired_token_is_renewed_once_with_the_refresh_token(client, tenant):
    client.trial()
    tenant.expire_tokens()
    client.trial()
    assert tenant.calls == ["authenticate", "search", "search", "refreshToken", "search"]


def test_a_refresh_token_that_is_not_taken_any_more_costs_a_new_sign_in(client, tenant):
    client.trial()
    tenant.expire_tokens()
    tenant.refresh_tokens.clear()
    client.trial()
    assert tenant.calls[-3:] == ["refreshToken", "authenticate", "search"]


def test_an_old_token_is_renewed_before_it_expires(client, tenant, monkeypatch):
    client.trial()
    later = module.time.monotonic() + 51 * 60
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    client.trial()
    assert tenant.calls[-2:] == ["refreshToken", "search"]


def test_version_1_signs_in_anew(tenant, chosen):
    client = Client(chosen(authentication="1.0"), httpx.WSGITransport(app=tenant))
    client.trial()
    tenant.expire_tokens()
    client.trial()
    assert tenant.calls == ["authenticate", "search", "search", "authenticate", "search"]


def test_many_threads_renew_a_token_once(client, tenant):
    client.trial()
    tenant.expire_tokens()
    threads = [threading.Thread(target=client.trial) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert tenant.calls.count("refreshToken") + tenant.calls.count("authenticate") == 2
    assert client.trouble == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"password": "wrong"}, "credentials"), ({"app_access_key": "wrong"}, "credentials"),
     ({"app_id": "com.other"}, "credentials"), ({"platform_id": "4"}, "credentials"),
     ({"billing_id": "39999999"}, "billing_id"), ({"password": ""}, "not_set_up"), ({"billing_id": ""}, "not_set_up")],
)  # fmt: skip
def test_what_is_wrong_with_the_account_is_said(tenant, chosen, changes, reason):
    client = Client(chosen(**changes), httpx.WSGITransport(app=tenant))
    with pytest.raises(BackendDown) as down:
        client.trial()
    assert down.value.reason == reason


def test_the_secrets_go_to_the_sign_in_alone(chosen):
    chosen = functools.partial(chosen, app_version="2.1")
    client, asked = answering(chosen, httpx.Response(200, json={"devices": {"count": "7"}}))
    assert client.trial() == 7
    assert json.loads(asked[0].content)["authRequest"]["maaS360AdminAuth"] == {
        "billingID": BILLING_ID, "platformID": "3", "appID": "com.30012345.portal", "appVersion": "2.1",
        "userName": "portal-script", "appAccessKey": "simulated-access-key", "password": "simulated password",
    }  # fmt: skip
    assert asked[1].headers["Authorization"] == 'MaaS token="t"'
    assert asked[1].headers["Accept"] == "application/json"
    assert b"password" not in asked[1].content
    assert "simulated" not in str(asked[1].url)


@pytest.mark.parametrize(
    ("billing_id", "host"),
    [("10000001", "https://services.fiberlink.com"), ("20000001", "https://services.m2.maas360.com"),
     ("60000001", "https://services.m6.maas360.com"), ("90000001", ""), ("", "")],
)  # fmt: skip
def test_the_host_is_guessed_from_the_billing_id(chosen, billing_id, host):
    assert host_of(chosen(host="", billing_id=billing_id)) == host
    assert host_of(chosen(billing_id=billing_id)) == TENANT


# --- what an answer means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["authResponse", "devices", "anything"])
def test_an_error_is_found_under_whatever_root(chosen, root):
    client, _ = answering(chosen, httpx.Response(200, json={root: {"errorCode": "4711", "errorDesc": "no such thing"}}))
    with pytest.raises(Refused, match="no such thing") as refused:
        client.trial()
    assert refused.value.code == 4711


def test_a_right_that_is_missing_is_no_outage(chosen):
    client, _ = answering(
        chosen, httpx.Response(403, text="<html>"), httpx.Response(200, json={"devices": {"count": 1}})
    )
    with pytest.raises(Refused):
        client.trial()
    assert client.trial() == 1


def test_packed_answers_are_unpacked(chosen):
    packed = gzip.compress(json.dumps({"devices": {"count": 3}}).encode())
    client, _ = answering(chosen, httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"}))
    assert client.trial() == 3


def test_an_answer_that_unpacks_to_too_much_is_given_up(chosen):
    bomb = httpx.ByteStream(gzip.compress(b" " * 10_000_000))
    client, _ = answering(chosen, httpx.Response(200, stream=bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(BackendDown) as down:
        client.trial()
    assert down.value.reason == "unreachable"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(httpx.Response(200, text="<html>busy</html>"), "not_json"), (httpx.Response(200, text="[]"), "not_json"),
     (httpx.Response(200, text="[" * 100_000), "not_json"), (httpx.Response(503), "status_503"),
     (httpx.Response(429), "status_429"),
     (httpx.Response(302, headers={"Location": "https://evil.example/"}), "status_302")],
)  # fmt: skip
def test_what_is_no_answer_of_maas360_is_an_outage(chosen, answer, reason):
    client, asked = answering(chosen, answer)
    with pytest.raises(BackendDown) as down:
        client.trial()
    assert (down.value.reason, client.trouble) == (reason, reason)
    before = len(asked)
    with pytest.raises(BackendDown, match=reason):  # still for that reason, without having asked again
        client.trial()
    assert len(asked) == before
    assert {request.url.host for request in asked} == {"maas360.example"}


def test_the_rest_grows_and_is_as_long_as_it_was_asked_for(chosen, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    answers = [httpx.Response(503)] * 4 + [httpx.Response(429, headers={"Retry-After": "600"})]
    client, asked = answering(chosen, *answers, httpx.Response(200, json={"devices": {}}))
    rests = []
    for _ in answers:
        with pytest.raises(BackendDown):
            client.trial()
        rests.append(client._rests_until - now[0])
        now[0] = client._rests_until
    assert rests == [5, 15, 60, 300, 600]
    client.trial()
    assert client.trouble == ""
    assert len(asked) == 7


def test_an_answer_that_only_drips_is_given_up(chosen, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def drip():
        for _ in range(100):
            now[0] += 5
            yield b" "

    client, _ = answering(chosen, httpx.Response(200, content=drip()))
    with pytest.raises(BackendDown) as down:
        client.trial()
    assert down.value.reason == "timeout"


@pytest.mark.parametrize("code", ["1007.0", "E4711", "-1", "0001"])
def test_every_form_of_an_error_is_one(chosen, code):
    client, _ = answering(chosen, *[httpx.Response(200, json={"devices": {"errorCode": code}})] * 4)
    with pytest.raises((Refused, BackendDown)):
        client.trial()


@pytest.mark.parametrize("code", ["0", "", "0.0", "²", "--", None])
def test_what_is_no_error_is_none(chosen, code):
    client, _ = answering(chosen, httpx.Response(200, json={"devices": {"errorCode": code, "count": 2}}))
    assert client.trial() == 2


def test_an_unreadable_answer_of_a_guessed_call_is_no_outage(chosen):
    client, _ = answering(
        chosen, httpx.Response(200, text="<html>"), httpx.Response(200, json={"devices": {"count": 2}})
    )
    with pytest.raises(Refused):
        client.call("check_action", {})
    assert client.trial() == 2


# --- searching -----------------------------------------------------------------------------------------------------


def test_every_page_is_read(client, tenant):
    for number in range(601):
        tenant.enroll(f"person{number}@example.com")
    assert len({each.server_id for each in client.all_devices()}) == 601


def test_a_full_last_page_is_followed_by_an_empty_one(client, tenant):
    for number in range(module.PAGE_SIZE):
        tenant.enroll(f"person{number}@example.com")
    assert len(list(client.all_devices())) == module.PAGE_SIZE


def test_a_search_that_repeats_its_last_page_ends(chosen):
    rows = [{"maas360DeviceID": str(number), "platformName": "iOS"} for number in range(module.PAGE_SIZE)]
    page = {"devices": {"count": 9999, "device": rows}}
    client, asked = answering(chosen, *[httpx.Response(200, json=page)] * 4)
    assert len(list(client.all_devices())) == 2 * module.PAGE_SIZE  # active and inactive ones
    assert len(asked) == 5


def test_devices_are_found_by_the_whole_address_and_in_any_state(client, tenant):
    first = tenant.enroll("erika@example.com")
    second = tenant.enroll("Erika@example.com", deviceStatus="InActive")
    tenant.enroll("erika@example.com.evil.example")
    tenant.enroll("erika@example.com", platformName="Android")
    assert {each.server_id for each in client.devices_of("erika@example.com")} == {first.server_id, second.server_id}


def test_a_user_without_a_device_is_found(client, tenant):
    tenant.add_user("erika@example.com")
    assert [each.email for each in client.users("erika@example.com")] == ["erika@example.com"]
    assert client.users("erika@example.co") == []


# --- what can never be asked ---------------------------------------------------------------------------------------


def test_no_call_wipes_locates_or_resets_a_passcode():
    told = json.dumps({name: call.path for name, call in CALLS.items()}).casefold()
    for forbidden in ("wipedevice", "locate", "passcode", "resetdevice", "hidedevice"):
        assert told.replace("selectivewipedevice", "").count(forbidden) == 0


def test_only_the_known_calls_can_be_made(client):
    with pytest.raises(KeyError):
        client.call("wipeDevice", {})


def test_the_portal_asks_nothing_but_those_addresses(client, tenant):
    asked = []
    service = tenant._service
    tenant._service = lambda path, *rest: asked.append(path) or service(path, *rest)
    tenant.add_user("erika@example.com")
    client.users("erika@example.com")
    list(client.all_devices())
    assert set(asked) <= {call.path.replace("{billing}", BILLING_ID) for call in CALLS.values()}

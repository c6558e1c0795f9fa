"""Fuzzing: nothing that is sent brings the portal down."""

from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.simulator.model import Model
from tests.account_driven.steps import post, signed
from tests.factories import BASE

calm = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200)


@calm
@given(
    body=st.one_of(
        st.binary(max_size=400), st.integers(0, 3000).map(lambda at: signed()[:at] + b"\xff" + signed()[at:])
    )
)
def test_no_body_brings_the_portal_down(app, body):
    assert post(app, body).status_code in (400, 401, 403)


@calm
@given(authorization=header_text)
def test_no_authorization_brings_the_portal_down(app, authorization):
    assert post(app, signed(), Authorization=authorization).status_code == 401


@calm
@given(
    value=st.recursive(
        st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40),
            st.integers(-9, 9),
            st.booleans(),
            st.binary(max_size=9),
        ),
        lambda child: st.lists(child, max_size=3),
        max_leaves=5,
    ),
    key=st.sampled_from(["PRODUCT", "VERSION", "OS_VERSION", "LANGUAGE", "MDM_CAN_REQUEST_SOFTWARE_UPDATE"]),
)
def test_no_machine_info_brings_the_portal_down(app, key, value):
    assert post(app, signed(**{key: value})).status_code in (400, 401, 403)


@calm
@given(handle=st.text(max_size=100), identifier=st.text(max_size=300))
def test_no_web_view_address_brings_the_portal_down(app, handle, identifier):
    path = f"/apple/sign-in/{quote(handle, safe='')}"
    answer = app.test_client().get(path, query_string={"user-identifier": identifier}, base_url=BASE)
    assert answer.status_code in (200, 303, 308, 400, 404)


def test_a_model_knows_its_ios():
    assert [Model(os_version=version).major for version in ("15.8", "26.0")] == [15, 26]

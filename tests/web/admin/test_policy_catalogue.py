"""What policies can do: only what applies to personal devices, unless somebody wants to see all."""

import pytest

from portal.policies import catalogue
from tests.pages import Browser


@pytest.fixture
def admin(app, company, clock):
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock())


def titles(page):
    return [each.get_text(strip=True) for each in page.soup.select("ul.doors b")]


def test_only_what_applies_is_listed_at_first(admin):
    admin.get("/admin/policies/catalogue")
    assert "Wi-Fi" in titles(admin)
    assert "VPN" not in titles(admin)
    assert len(titles(admin)) == len(catalogue.load().usable())
    assert {each.get_text() for each in admin.soup.select("ul.doors .badge")} == {"UE"}


def test_the_rest_is_shown_when_asked_for_and_marked(admin):
    admin.get("/admin/policies/catalogue?all=yes")
    assert len(titles(admin)) == len(catalogue.load().payloads)
    assert "not allowed" in admin.text
    assert admin.soup.find("input", id="all").has_attr("checked")


def test_a_search_finds_keys_too(admin):
    admin.get("/admin/policies/catalogue?search=managedPasteboard")
    assert titles(admin) == ["Restrictions"]
    assert "requireManagedPasteboard" in admin.text
    assert titles(admin.get("/admin/policies/catalogue?search=allowCamera")) == []
    assert "Perhaps it does not apply to personal devices." in admin.text
    assert titles(admin.get("/admin/policies/catalogue?search=allowCamera&all=yes")) == ["Restrictions"]


@pytest.mark.parametrize("search", ["<script>", "x" * 5000, "%ff"])
def test_whatever_is_searched_for_is_answered(admin, search):
    assert admin.get(f"/admin/policies/catalogue?search={search}").status == 200


@pytest.mark.parametrize("kind", sorted(catalogue.load().payloads))
def test_every_type_has_its_page_with_all_its_keys(admin, kind):
    payload = catalogue.load().payloads[kind]
    admin.get(f"/admin/policies/catalogue/{kind}?all=yes")
    assert admin.heading == payload.title
    shown = [each.get_text().replace("\u200b", "") for each in admin.soup.select("tbody td:first-child b")]
    assert shown == [path for path, _ in payload.walk()]


def test_a_page_hides_what_does_not_apply_and_says_how_much(admin):
    admin.get("/admin/policies/catalogue/com.apple.applicationaccess")
    assert "allowCamera" not in admin.text
    assert "more keys that do not apply" in admin.text
    assert "since iOS 15.0" in admin.text


def test_what_nobody_knows_is_not_found(admin):
    assert admin.get("/admin/policies/catalogue/com.example.made.up").status == 404


def test_an_employee_sees_nothing_of_it(browser):
    assert browser.get("/admin/policies/catalogue").path == "/staff/sign-in"

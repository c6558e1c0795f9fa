"""Looking at a domain's service discovery from outside, as an iPhone would: redirects lose the query."""

from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from portal import bounded, discovery

TIMEOUT_SECONDS = 5.0
MOST_REDIRECTS = 5
LARGEST_ANSWER, LONGEST_ANSWER_SECONDS = 64 * 1024, 10.0
"""Bytes, unpacked; and from its first byte to its last."""
PROBE = "discovery-check"
"""The local part of the account asked for; whether it exists makes no difference."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``problem`` is None when an iPhone would find the portal, else a code; ``steps`` are the addresses visited."""

    problem: str | None
    detail: str
    steps: tuple[str, ...]


class NoDomain(Exception):
    """Not the name of a domain."""


class _Problem(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


def check(domain: str, base_url: str, transport: httpx.BaseTransport | None = None) -> Outcome:
    """Ask ``https://domain`` where accounts of it enroll; right is ``base_url``. Raises NoDomain only."""
    domain = domain.strip().casefold().rstrip(".")
    labels = domain.split(".")
    valid = all(label and len(label) <= 63 and label.replace("-", "").isalnum() for label in labels)
    if len(labels) < 2 or len(domain) > 253 or labels[-1].isdigit() or not valid:
        raise NoDomain(domain)
    query = urlencode({"user-identifier": f"{PROBE}@{domain}", "model-family": "iPhone"})
    steps: list[str] = []
    try:
        hooks = bounded.within(LARGEST_ANSWER, LONGEST_ANSWER_SECONDS)
        with httpx.Client(timeout=TIMEOUT_SECONDS, transport=transport, event_hooks=hooks) as http:
            answer = _follow(http, f"https://{domain}{discovery.PATH}?{query}", steps)
        _judge(answer, base_url)
    except _Problem as problem:
        return Outcome(problem.code, problem.detail, tuple(steps))
    except httpx.TimeoutException:
        return Outcome("timeout", f"no answer within {TIMEOUT_SECONDS:.0f} s", tuple(steps))
    except httpx.ConnectError as error:
        code = "tls" if "CERTIFICATE" in str(error).upper() or "SSL" in str(error).upper() else "unreachable"
        return Outcome(code, str(error)[:200], tuple(steps))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Outcome("unreachable", str(error)[:200], tuple(steps))
    return Outcome(None, "", tuple(steps))


def _follow(http: httpx.Client, address: str, steps: list[str]) -> httpx.Response:
    for _ in range(MOST_REDIRECTS):
        if urlsplit(address).scheme != "https":
            raise _Problem("not_https", address)
        steps.append(address)
        try:
            answer = http.get(address, follow_redirects=False)
        except bounded.TooLarge:
            raise _Problem("not_json", "the answer is too large") from None
        if not answer.has_redirect_location:
            return answer
        address = urljoin(address, answer.headers["location"])
    raise _Problem("redirects", "more than five redirects")


def _judge(answer: httpx.Response, base_url: str) -> None:
    text = answer.content.decode(errors="replace")  # whatever charset it says that it has
    if answer.status_code == 403 and discovery.Refusal.NO_IDENTIFIER.value in text:
        raise _Problem("query_lost", str(answer.url))
    if answer.status_code == 403 and discovery.Refusal.OTHER_DOMAIN.value in text:
        raise _Problem("other_domain", str(answer.url))
    if answer.status_code != 200:
        raise _Problem("status", f"{answer.status_code} from {answer.url.host}")
    if not answer.headers.get("content-type", "").startswith("application/json"):
        raise _Problem("content_type", answer.headers.get("content-type", ""))
    try:
        servers = bounded.document(answer.content)["Servers"]
        offered = (servers[0]["Version"], servers[0]["BaseURL"])
    except (ValueError, LookupError, TypeError):
        raise _Problem("not_json", text[:120]) from None
    if offered != (discovery.VERSION, base_url):
        raise _Problem("other_server", " ".join(map(str, offered))[:200])

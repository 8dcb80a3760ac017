"""The product owners' pages over HTTP: these files and nothing else, to whom they are for, loading nothing from elsewhere."""

import base64

import httpx
import pytest

from models.engine import Engine
from serving.app import App
from serving.doors import Doors
from serving.keys import KeyRing, add_key
from serving.metrics import Meters
from serving.settings import ServiceSettings


@pytest.fixture
def folder(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    for name in ("index.html", "reasons.ko.html", "pages.css", "plotly.min.js", "funnel.csv", "opportunities.json"):
        (pages / name).write_text(f"content of {name}", encoding="utf-8")
    (pages / ".hidden.html").write_text("hidden", encoding="utf-8")
    (pages / "model.pickle").write_text("no page", encoding="utf-8")
    (pages / "sub.html").mkdir()
    (tmp_path / "secret.html").write_text("secret", encoding="utf-8")
    (pages / "link.html").symlink_to(tmp_path / "secret.html")
    return pages


@pytest.fixture
def get(folder):
    def _get(path, app=None, **more):
        import asyncio

        app = app or App(Engine(None), ServiceSettings(insights=str(folder)))

        async def ask():
            transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(more.pop("method", "GET"), path, **more)

        return asyncio.run(ask())

    return _get


@pytest.mark.parametrize("address", ["/insights", "/insights/"])
def test_the_bare_address_leads_to_the_first_page(get, address):
    answer = get(address)
    assert answer.status_code == 307
    # behind a proxy that serves under a prefix, too
    for before in ("http://service", "http://x/pay"):
        led = httpx.URL(before + address).join(answer.headers["location"])
        assert str(led) == f"{before}/insights/index.html"


def test_what_leads_on_is_counted_and_is_no_problem(get, folder):
    meters = Meters()
    get("/insights", App(Engine(None), ServiceSettings(insights=str(folder)), meters=meters))
    told = [line for line in meters.text().decode().splitlines() if line.endswith(" 1.0")]
    assert [line for line in told if "_total" in line] == [
        'payrescue_requests_total{route="/insights",status="3xx"} 1.0'
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("reasons.ko.html", "text/html; charset=utf-8"),
        ("pages.css", "text/css; charset=utf-8"),
        ("plotly.min.js", "text/javascript; charset=utf-8"),
        ("funnel.csv", "text/csv; charset=utf-8"),
        ("opportunities.json", "application/json"),
    ],
)
def test_a_file_is_served_as_what_it_is_and_may_load_nothing_from_elsewhere(get, name, kind):
    answer = get(f"/insights/{name}")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, f"content of {name}", kind)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"


def test_a_head_request_has_no_body(get):
    answer = get("/insights/index.html", method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "name",
    [
        "nothing.html", "..%2Fsecret.html", "%2e%2e/secret.html", "..", "link.html", ".hidden.html", "model.pickle",
        "sub.html", "index.html%00.css", "INDEX.HTML", "index.html/", "a" * 300 + ".html", "%5c..%5csecret.html", "index",
    ],
)  # fmt: skip
def test_nothing_else_is_served(get, name):
    answer = get(f"/insights/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


def test_without_a_folder_it_says_how_to_get_one(get):
    answer = get("/insights/index.html", App(Engine(None)))
    assert answer.status_code == 404
    assert "--insights DIR" in answer.json()["detail"]


def test_a_report_that_is_written_anew_is_shown_at_once(get, folder):
    app = App(Engine(None), ServiceSettings(insights=str(folder)))
    assert get("/insights/index.html", app).text == "content of index.html"
    (folder / "index.html").write_text("newer", encoding="utf-8")
    assert get("/insights/index.html", app).text == "newer"


@pytest.fixture
def keyed(folder, tmp_path):
    path = tmp_path / "keys.yaml"
    secrets = {scope: add_key(path, scope, [scope], created="2026-01-05") for scope in ("score", "read", "admin")}
    return App(Engine(None), ServiceSettings(insights=str(folder)), doors=Doors(KeyRing(path))), secrets


@pytest.mark.parametrize(("scope", "status"), [("read", 200), ("admin", 200), ("score", 403)])
def test_who_may_read_them(get, keyed, scope, status):
    app, secrets = keyed
    bearer = {"authorization": f"Bearer {secrets[scope]}"}
    assert get("/insights/index.html", app, headers=bearer).status_code == status
    basic = base64.b64encode(f"anyone:{secrets[scope]}".encode()).decode()
    assert get("/insights/index.html", app, headers={"authorization": f"Basic {basic}"}).status_code == status


@pytest.mark.parametrize("given", [None, "Basic !!!", "Basic YTpi", "Bearer no"])
def test_a_browser_is_asked_for_a_key(get, keyed, given):
    answer = get("/insights", keyed[0], headers={"authorization": given} if given else {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="payrescue"')


def test_a_password_opens_no_other_door(get, keyed):
    app, secrets = keyed
    basic = base64.b64encode(f"x:{secrets['admin']}".encode()).decode()
    answer = get("/metrics", app, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_that_may_read_opens_nothing_else(get, keyed):
    app, secrets = keyed
    assert get("/metrics", app, headers={"authorization": f"Bearer {secrets['read']}"}).status_code == 403

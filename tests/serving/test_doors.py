import asyncio
import json
import random
import re
from io import StringIO
from urllib.parse import quote, unquote

import pytest

from features.cards import contains_card_number, luhn_ok
from models.engine import Engine
from serving.access_log import AccessLog
from serving.app import App
from serving.assembly import assemble
from serving.doors import OPEN, Doors
from serving.hosts import Hosts
from serving.keys import KeyRing, add_key
from serving.metrics import Meters
from serving.problems import Problem
from serving.settings import ServiceSettings

PAN = "4111111111111111"
NOW = 1_767_700_000_000_000
PROBES = 10_000


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    made = {scope: add_key(path, scope, [scope], created="2026-01-05") for scope in ("score", "outcomes", "admin")}
    return path, made


@pytest.fixture(scope="module")
def keyed(secrets):
    return App(Engine(None), doors=Doors(KeyRing(secrets[0])), meters=Meters(), clock=lambda: NOW)


@pytest.fixture(scope="module")
def keyless():
    return App(Engine(None), doors=Doors(), meters=Meters(), clock=lambda: NOW)


class TestKeys:
    @pytest.mark.parametrize(
        ("scope", "path", "status"),
        [
            ("score", "/v1/score", 200),
            ("outcomes", "/v1/score", 403),
            ("admin", "/v1/score", 200),
            ("score", "/metrics", 403),
            ("admin", "/metrics", 200),
            ("outcomes", "/v1/messages/en", 200),
            ("score", "/v1/model", 200),
        ],
    )
    def test_a_scope_opens_what_is_its_own(self, keyed, secrets, send, question, scope, path, status):
        headers = {"authorization": f"Bearer {secrets[1][scope]}"}
        method, body = ("POST", question) if path == "/v1/score" else ("GET", None)
        response = send(keyed, method, path, body, headers=headers)
        assert response.status_code == status
        if status == 403:
            assert 'error="insufficient_scope"' in response.headers["www-authenticate"]

    def test_a_key_may_come_in_a_header_of_its_own(self, keyed, secrets, send, question):
        assert send(keyed, "POST", "/v1/score", question, headers={"x-api-key": secrets[1]["score"]}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": "Bearer payrescue_nobody"},
            {"authorization": "Basic dTpw"},
            {"authorization": "Bearer"},
            {"x-api-key": ""},
            {"x-api-key": PAN},
        ],
    )
    def test_without_a_key_nobody_comes_in(self, keyed, send, question, headers):
        response = send(keyed, "POST", "/v1/score", question, headers=dict(headers))
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"].startswith('Bearer realm="payrescue"')
        assert PAN not in response.text

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/openapi.json", "/docs.json", "/schema.json"])
    def test_probes_and_descriptions_need_none(self, keyed, send, path):
        assert send(keyed, "GET", path).status_code == 200

    def test_every_other_route_of_the_service_needs_one(self, keyed, send):
        for path, (method, _) in keyed._routes.items():
            response = send(keyed, method, f"{path}en" if path.endswith("/") else path)
            assert (response.status_code == 401) == (path not in OPEN)

    def test_a_key_is_in_no_answer_metric_or_line(self, secrets, send, question):
        out = StringIO()
        meters, log = Meters(), AccessLog(out)
        app = App(Engine(None), doors=Doors(KeyRing(secrets[0])), meters=meters, access_log=log, clock=lambda: NOW)
        said = ""
        for secret in (*secrets[1].values(), "payrescue_wrong_one"):
            response = send(app, "POST", "/v1/score", question, headers={"authorization": f"Bearer {secret}"})
            said += response.text + str(response.headers)
        log.flush()
        said += out.getvalue() + meters.text().decode()
        assert [secret for secret in (*secrets[1].values(), "payrescue_wrong_one") if secret in said] == []


class TestWithoutKeys:
    @pytest.mark.parametrize("client", [("127.0.0.1", 1), ("127.8.8.8", 1), ("::1", 1), ("::ffff:127.0.0.1", 1), None])
    def test_the_machine_itself_is_answered(self, client):
        Doors().admit({"client": client, "headers": []}, "/v1/score")

    @pytest.mark.parametrize("client", [("10.0.0.7", 1), ("172.17.0.1", 1), ("2001:db8::1", 1), ("1127.0.0.1", 1)])
    def test_nobody_else_is(self, client):
        with pytest.raises(Problem) as refused:
            Doors().admit({"client": client, "headers": []}, "/v1/score")
        assert refused.value.status == 401
        Doors().admit({"client": client, "headers": []}, "/livez")

    @pytest.mark.parametrize(
        "host",
        [None, "localhost", "LocalHost:3000", "localhost.", "127.0.0.1:3000", "127.9.9.9", "[::1]:3000", "a.localhost"],
    )
    def test_it_is_asked_by_its_own_names(self, host):
        headers = [(b"host", host.encode())] if host is not None else []
        doors = Doors(hosts=Hosts())
        for _ in range(2):
            doors.admit({"client": ("127.0.0.1", 1), "headers": headers}, "/insights/")

    @pytest.mark.parametrize(
        "host",
        ["shop.example", "localhost.shop.example:3000", "127.0.0.1.nip.io", "192.168.0.7", "[::2]", "", "127.0.0.1x"],
    )
    @pytest.mark.parametrize("route", ["/v1/score", "/v1/outcomes", "/insights/", "/metrics"])
    def test_a_website_that_has_this_machine_s_address_as_its_own_is_refused(self, host, route):
        asked = {"client": ("127.0.0.1", 1), "headers": [(b"accept", b"*/*"), (b"host", host.encode())]}
        for _ in range(2):
            with pytest.raises(Problem) as refused:
                Doors(hosts=Hosts()).admit(asked, route)
            assert (refused.value.status, refused.value.code) == (403, "other_host")
        Doors(hosts=Hosts()).admit(asked, "/livez")

    @pytest.mark.parametrize("more", [["pay.example"], ["*"], ["other", "Pay.Example"]])
    def test_other_names_may_be_allowed(self, more):
        asked = {"client": ("127.0.0.1", 1), "headers": [(b"host", b"pay.example:8080")]}
        Doors(hosts=Hosts(more)).admit(asked, "/v1/score")

    @pytest.mark.parametrize(
        ("environment", "status"),
        [({}, 403), ({"PAYRESCUE_HOSTS": "a.example, shop.example"}, 200), ({"PAYRESCUE_HOST": "0.0.0.0"}, 200)],
    )
    def test_the_service_looks_at_names_where_it_listens_to_its_machine_alone(
        self, environment, status, send, question
    ):
        environment |= {"PAYRESCUE_LOG": "none", "PAYRESCUE_MODEL": "none", "PAYRESCUE_FOLLOW_S": "0"}
        app = assemble(ServiceSettings.from_environment(environment), lambda: None, None)
        assert send(app, "POST", "/v1/score", question, headers={"host": "shop.example"}).status_code == status
        app.close()

    def test_with_keys_any_name_will_do(self, secrets, send, question):
        headers = {"host": "shop.example", "x-api-key": secrets[1]["score"]}
        app = App(Engine(None), doors=Doors(KeyRing(secrets[0]), Hosts()), clock=lambda: NOW)
        assert send(app, "POST", "/v1/score", question, headers=headers).status_code == 200


def test_the_key_is_looked_at_even_where_all_are_turned_away(secrets, send, question):
    keyed = App(Engine(None), ServiceSettings(most_waiting=1), doors=Doors(KeyRing(secrets[0])), clock=lambda: NOW)
    keyed.gate.waiting = 1
    assert send(keyed, "POST", "/v1/score", question).status_code == 401
    answer = send(keyed, "POST", "/v1/score", question, headers={"x-api-key": secrets[1]["score"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


class TestCardData:
    @pytest.mark.parametrize(
        "headers",
        [
            {"x-card": PAN},
            {"x-card": "4111 1111 1111 1111"},
            {"x-card": "4111-1111-1111-1111"},
            {"cookie": f"card={PAN}; a=b"},
            {"referer": f"https://shop.example/pay?card={PAN}"},
            {"user-agent": f"shop/1.0 ({PAN})"},
            {f"x-{PAN}": "1"},
            {"x-card": "４１１１１１１１１１１１１１１１".encode()},
            {"cvv": "123"},
            {"x-card-number": "1"},
            {"X-CVC": "123"},
        ],
    )
    def test_a_header_with_card_data_is_refused(self, keyless, send, question, headers):
        response = send(keyless, "POST", "/v1/score", question, headers=dict(headers))
        assert (response.status_code, response.json()["code"]) == (400, "card_number")
        assert not contains_card_number(response.text)

    @pytest.mark.parametrize(
        "query",
        [f"card={PAN}", PAN, "card=4111+1111+1111+1111", "card=4111%201111%201111%201111", "cvv=123", "a=1&security_code=",
         "c=%EF%BC%94%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91%EF%BC%91",
         "card=%2534111111111111111", f"card{PAN}=1"],
    )  # fmt: skip
    def test_a_query_with_card_data_is_refused(self, keyless, send, question, query):
        response = send(keyless, "POST", f"/v1/score?{query}", question)
        assert (response.status_code, response.json()["code"]) == (400, "card_number")

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-datadog-trace-id": PAN},
            {"traceparent": "00-41111111111111114111111111111111-4111111111111111-01"},
            {"x-cloud-trace-context": f"105445aa7843bc8bf206b12000100000/{PAN};o=1"},
            {"x-forwarded-for": "203.113.111.111, 198.151.100.104"},
            {"x-request-start": "t=1767605400000"},
        ],
    )
    def test_what_only_looks_like_it_in_a_trace_or_an_address_is_let_in(self, keyless, send, question, headers):
        assert send(keyless, "POST", "/v1/score", question, headers=dict(headers)).status_code == 200

    @pytest.mark.parametrize("name", ["cvv", "CVC", "cvv2", "csc", "security_code", "card-security-code", "track2"])
    @pytest.mark.parametrize("place", ["body", "attempt", "evidence", "candidate", "nested"])
    def test_a_field_named_as_security_codes_are_is_refused_wherever_it_is(self, keyless, send, question, name, place):
        places = {
            "body": question,
            "attempt": question["attempt"],
            "evidence": question["evidence"],
            "candidate": question["candidates"][0],
            "nested": question["attempt"].setdefault("extra", {"card": [[{}]]})["card"][0][0],
        }
        if place != "nested":
            del question["attempt"]["extra"]
        places[place][name] = "737"
        response = send(keyless, "POST", "/v1/score", question)
        assert (response.status_code, response.json()["code"]) == (422, "security_code")
        assert "737" not in response.text

    def test_a_card_number_deep_in_an_unknown_field_is_called_one(self, keyless, send, question):
        question["attempt"]["extra"] = {"a": [{"b": {PAN: 1}}]}
        response = send(keyless, "POST", "/v1/score", question)
        assert (response.status_code, response.json()["code"]) == (422, "card_number")


def nested(depth, opening="[", closing="]"):
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (nested(17), "nested_too_deeply"),
        (nested(400), "nested_too_deeply"),
        ('{"a":' * 17 + "1" + "}" * 17, "nested_too_deeply"),
        (nested(16), "invalid_request"),
        (json.dumps([[]] * 100), "invalid_request"),
    ],
)
def test_a_body_may_be_nested_sixteen_deep(keyless, send, body, code):
    assert send(keyless, "POST", "/v1/score", body.encode()).json()["code"] == code


def test_headers_that_are_too_large_are_refused(keyless, send, question):
    response = send(keyless, "POST", "/v1/score", question, headers={"x-a": "a" * 33_000})
    assert (response.status_code, response.json()["code"]) == (431, "headers_too_large")


def card_number(rng):
    """A number that a network could have issued."""
    prefix, length = rng.choice(
        [("4", 16), ("4", 13), ("4", 19), ("51", 16), ("34", 15), ("36", 14), ("62", 17), ("3528", 16)]
    )
    body = prefix + "".join(rng.choice("0123456789") for _ in range(length - len(prefix) - 1))
    return next(body + str(last) for last in range(10) if luhn_ok(body + str(last)))


FULLWIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
WRITTEN = (
    lambda n: n,
    lambda n: " ".join(re.findall(".{1,4}", n)),
    lambda n: "-".join(re.findall(".{1,4}", n)),
    lambda n: n.translate(FULLWIDTH),
    lambda n: n.translate(ARABIC),
    lambda n: f"card {n} please",
    lambda n: "\u200b".join(re.findall(".{1,4}", n)),
)
FIELDS = ("attempt_id", "customer_id", "issuer", "method", "route", "created_at", "amount_minor", "country", "stored")


def probe(rng, question):
    """One request that holds a card number somewhere: its body, its path, its headers, and the number."""
    number = card_number(rng)
    text = rng.choice(WRITTEN)(number)
    body = json.loads(json.dumps(question))
    path, headers = "/v1/score", {}
    place = rng.randrange(9)
    if place == 0:
        body["attempt"][rng.choice(FIELDS)] = text
    elif place == 1:
        body["attempt"][rng.choice(FIELDS)] = int(number)
    elif place == 2:
        body["attempt"][text] = text
    elif place == 3:
        body["evidence"]["response_code"] = text
    elif place == 4:
        body["candidates"][0]["candidate_id"] = text
    elif place == 5:
        body["previous"] = [{**body["attempt"], "attempt_id": text}]
    elif place == 6:
        body["extra"] = {"deep": [{"er": text}, {text: None}]}
    elif place == 7:
        path = f"/v1/{rng.choice(['score?card=', 'messages/', 'score/'])}{number}"
    else:
        headers = {"x-note": text.encode()}
    return number, path, json.dumps(body, ensure_ascii=rng.random() < 0.5).encode(), headers


@pytest.mark.faults
def test_of_ten_thousand_card_numbers_none_is_let_in_answered_or_logged(question, caplog, figure):
    rng, numbers, said = random.Random(7), set(), []
    out = StringIO()
    meters, log = Meters(), AccessLog(out)
    app = App(Engine(None), doors=Doors(), meters=meters, access_log=log, clock=lambda: NOW)
    let_in = 0
    for status, answer, number in asked_all(app, (probe(rng, question) for _ in range(PROBES))):
        numbers.add(number)
        said.append(answer)
        let_in += status < 400
    log.flush()
    seen = set(re.findall(r"\d{13,19}", "".join(said) + out.getvalue() + meters.text().decode() + caplog.text))
    figure(
        f"card numbers: {len(said):,} probes, {let_in} let in, {len(seen & numbers)} found in answers, logs or metrics"
    )
    assert (let_in, seen & numbers, len(said)) == (0, set(), PROBES)


def asked_all(app, probes):
    """Sends requests straight to the application, and gives each answer's status, all of its text, and the number sent."""

    async def run():
        answers = []
        for number, path, body, headers in probes:
            path, _, query = path.partition("?")
            sent = []

            async def receive(body=body):
                return {"type": "http.request", "body": body}

            async def send(message, sent=sent):
                sent.append(message)

            lines = [(b"content-type", b"application/json"), *((k.encode(), v) for k, v in headers.items())]
            scope = {
                "type": "http",
                "method": "GET" if "messages" in path else "POST",
                "path": unquote(path),
                "query_string": quote(query, safe="=").encode(),
                "headers": lines,
                "client": ("127.0.0.1", 1),
            }
            await app(scope, receive, send)
            answers.append((sent[0]["status"], f"{sent[0]['headers']}{sent[1]['body'].decode()}", number))
        return answers

    return asyncio.run(run())

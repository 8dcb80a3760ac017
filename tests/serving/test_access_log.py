import json
from io import StringIO

import pytest

from models.engine import Engine
from serving.access_log import AccessLog, Entry
from serving.app import App
from serving.settings import ServiceSettings

NOW = 1_767_700_000_000_000
ENTRY = Entry(1_767_700_000.25, "r1", "POST", "/v1/score", 200, 1.23456, None, False, "retry_same")


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_gets_a_line_of_json(send, question):
    out = StringIO()
    log = AccessLog(out)
    app = App(Engine(None), access_log=log, clock=lambda: NOW)
    send(app, "POST", "/v1/score", question, headers={"x-request-id": "mine"})
    send(app, "POST", "/v1/score", question | {"cvv": "737"})
    send(app, "P4111111111111111", "/secret/4111111111111111?card=4111111111111111")
    log.flush()
    first, second, third = lines(out)
    assert {name: first[name] for name in ("request_id", "method", "route", "status", "degraded", "action")} == {
        "request_id": "mine",
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "degraded": True,
        "action": "retry_other_route",
    }
    assert 0.0 < first["ms"] < 10_000
    assert (second["status"], second["code"]) == (422, "security_code")
    assert (third["method"], third["route"], third["status"]) == ("other", "other", 404)
    assert "737" not in out.getvalue().replace(second["request_id"], "").replace(second["time"], "").replace(
        str(second["ms"]), ""
    )
    assert "4111" not in json.dumps({name: third[name] for name in ("method", "route", "code")})


def test_the_time_is_utc_with_its_fraction():
    out = StringIO()
    log = AccessLog(out)
    log.note(ENTRY)
    log.flush()
    assert (lines(out)[0]["time"], lines(out)[0]["ms"]) == ("2026-01-06T11:46:40.250000Z", 1.235)


def test_a_time_just_before_a_second_is_that_second():
    out = StringIO()
    log = AccessLog(out)
    log.note(ENTRY._replace(at=1_767_700_000.9999998))
    log.flush()
    assert lines(out)[0]["time"] == "2026-01-06T11:46:41.000000Z"


@pytest.mark.parametrize(("share", "written"), [(1.0, 100), (0.25, 25), (0.01, 1), (0.0, 0)])
def test_a_share_of_the_requests_is_written_evenly(share, written):
    out = StringIO()
    log = AccessLog(out, share=share)
    for _ in range(100):
        log.note(ENTRY)
    log.flush()
    assert len(lines(out)) == written


def test_a_failure_of_ours_is_always_written():
    out = StringIO()
    log = AccessLog(out, share=0.01)
    log.note(ENTRY._replace(status=503))
    log.flush()
    assert [line["status"] for line in lines(out)] == [503]


def test_what_nobody_reads_is_dropped_and_counted():
    log = AccessLog(StringIO())
    for _ in range(10_003):
        log.note(ENTRY)
    assert log.dropped == 3


def test_a_stream_that_is_gone_stops_nobody():
    gone = StringIO()
    gone.close()
    log = AccessLog(gone)
    log.note(ENTRY)
    log.flush()
    assert log.dropped == 1


def test_what_waits_is_written_at_the_end():
    out = StringIO()
    log = AccessLog(out)
    log.start()
    log.note(ENTRY)
    log.stop()
    assert len(lines(out)) == 1


@pytest.mark.parametrize(("text", "share"), [("on", 1.0), ("off", 0.0), ("0.1", 0.1), ("", 1.0)])
def test_the_share_is_a_setting(text, share):
    assert ServiceSettings.from_environment({"PAYRESCUE_ACCESS_LOG": text}).access_log == share

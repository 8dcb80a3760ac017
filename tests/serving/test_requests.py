import json
from copy import deepcopy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.columns import Column
from features.errors import BadInput
from serving.requests import MOST_CANDIDATES, MOST_FAULTS, MOST_PREVIOUS, RequestReader
from serving.values import CARD_NUMBER, MOST_TAKEN

PAN = "4111111111111111"
reader = RequestReader()


def pointers(raw, now):
    with pytest.raises(BadInput) as caught:
        reader.read(raw, now=now)
    return [fault.pointer for fault in caught.value.faults]


def earlier(**values):
    return {"attempt_id": "a0", "created_at": "2026-01-05T09:29:00Z", "method": "card"} | values


def test_values_are_those_of_the_attempts_table(question, now):
    request = reader.read(question, now=now)
    assert request.attempt["created_at"] == 1_767_605_400_000_000
    assert request.attempt["amount_minor"] == 38000
    assert request.evidence == question["evidence"]
    assert request.candidates == tuple(question["candidates"])


def test_a_zone_other_than_utc_is_converted(question, now):
    question["attempt"]["created_at"] = "2026-01-05T18:30:00.25+09:00"
    assert reader.read(question, now=now).attempt["created_at"] == 1_767_605_400_250_000


def test_null_and_absent_mean_the_same(question, now):
    absent = reader.read(question, now=now)
    question["attempt"]["issuer"] = None
    question["evidence"]["trans_status"] = None
    assert reader.read(question, now=now) == absent


def test_no_evidence_is_not_the_same_as_evidence_of_nothing(question, now):
    question["evidence"] = {}
    assert reader.read(question, now=now).evidence == {}
    del question["evidence"]
    assert reader.read(question, now=now).evidence is None


def test_candidates_that_are_absent_differ_from_none_at_all(question, now):
    question["candidates"] = []
    assert reader.read(question, now=now).candidates == ()
    del question["candidates"]
    assert reader.read(question, now=now).candidates is None


def test_a_customer_is_known_by_a_pseudonym_alone(question, now):
    question["attempt"]["customer_id"] = "someone@example.com"
    assert pointers(question, now) == ["/attempt/customer_id"]


def test_text_may_hold_spaces_of_other_scripts(question, now):
    question["attempt"]["merchant_category"] = "本\u3000雑誌\xa0"
    assert reader.read(question, now=now).attempt["merchant_category"] == "本\u3000雑誌\xa0"


def test_a_whole_number_may_be_written_with_a_point(question, now):
    question["attempt"]["prior_payments"] = 3.0
    value = reader.read(question, now=now).attempt["prior_payments"]
    assert (value, type(value)) == (3, int)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_minor", -1),
        ("amount_minor", "38000"),
        ("amount_minor", 1.5),
        ("amount_minor", True),
        ("amount_minor", float("nan")),
        ("amount_minor", 10**400),
        ("network_rtt_ms", float("inf")),
        ("currency", "EU"),
        ("currency", "krw"),
        ("currency", 410),
        ("country", "XX"),
        ("issuer_country", "Korea"),
        ("created_at", "2026-01-05T09:30:00"),
        ("created_at", "2026-13-05T09:30:00Z"),
        ("created_at", "2026-01-05"),
        ("created_at", "1999-12-31T23:59:59Z"),
        ("created_at", "2027-01-05T09:30:00Z"),
        ("created_at", 1767605400),
        ("channel", "fax"),
        ("card_funding", "Credit"),
        ("auth_flow", "otp"),
        ("auth_exemption", ""),
        ("auth_steps", 51),
        ("propensity", 0),
        ("propensity", 1.01),
        ("stored", "true"),
        ("stored", 1),
        ("method", ""),
        ("method", "x" * 65),
        ("method", "card\n"),
        ("method", "car\u200bd"),
        ("attempt_id", "x" * 129),
        ("attempt_id", ["a1"]),
        ("issuer", "411111111"),
        ("customer_id", PAN),
        ("merchant_category", f"card {PAN[:4]} {PAN[4:8]} {PAN[8:12]} {PAN[12:]}"),
        ("amount_minor", int(PAN)),
        ("form_seconds", float(PAN)),
        ("stored", int(PAN)),
    ],
)
def test_a_value_that_cannot_be_used_is_pointed_at(question, now, field, value):
    question["attempt"][field] = value
    assert pointers(question, now) == [f"/attempt/{field}"]


@pytest.mark.parametrize(
    "field", ["attempt_id", "payment_id", "created_at", "amount_minor", "currency", "country", "method"]
)
def test_a_required_field_is_asked_for(question, now, field):
    del question["attempt"][field]
    assert pointers(question, now) == [f"/attempt/{field}"]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("attempt", "cvv"),
        ("attempt", "response_code"),
        ("evidence", "outcome"),
        ("evidence", "reason"),
        ("evidence", "method"),
    ],
)
def test_a_field_where_it_does_not_belong_is_refused(question, now, part, name):
    question[part][name] = "123"
    assert pointers(question, now) == [f"/{part}/{name}"]


@pytest.mark.parametrize("name", ["a b", "card_411111", "x" * 41, "é", "", "~1/~0"])
def test_a_field_whose_name_may_hide_something_is_refused_without_its_name(question, now, name):
    question["attempt"][name] = 1
    assert pointers(question, now) == ["/attempt"]


def test_every_fault_is_found_at_once(question, now):
    question["attempt"]["amount_minor"] = -1
    question["evidence"]["trans_status"] = "X"
    question["candidates"][1]["wait_s"] = -5
    question["extra"] = 1
    assert sorted(pointers(question, now)) == [
        "/attempt/amount_minor",
        "/candidates/1/wait_s",
        "/evidence/trans_status",
        "/extra",
    ]


def test_the_list_of_faults_ends(question, now):
    question["candidates"] = [{} for _ in range(MOST_CANDIDATES)]
    assert len(pointers(question, now)) == MOST_FAULTS


@pytest.mark.parametrize("raw", [None, [], "x", 1, True])
def test_what_is_no_object_is_refused(raw, now):
    assert pointers(raw, now) == [""]


@pytest.mark.parametrize("part", ["attempt", "evidence"])
@pytest.mark.parametrize("value", [[], "x", 1])
def test_a_part_that_is_no_object_is_refused(question, now, part, value):
    question[part] = value
    assert f"/{part}" in pointers(question, now)


@pytest.mark.parametrize("part", ["previous", "candidates"])
@pytest.mark.parametrize("value", [{}, "x", [1]])
def test_a_part_that_is_no_array_of_objects_is_refused(question, now, part, value):
    question[part] = value
    assert pointers(question, now) == [f"/{part}/0" if value == [1] else f"/{part}"]


def test_too_many_candidates_or_earlier_attempts_are_refused(question, now):
    question["candidates"] = [{"candidate_id": str(i), "method": "card"} for i in range(MOST_CANDIDATES + 1)]
    question["previous"] = [earlier(attempt_id=str(i)) for i in range(MOST_PREVIOUS + 1)]
    assert pointers(question, now) == ["/previous", "/candidates"]


def test_candidates_need_an_id_of_their_own(question, now):
    question["candidates"] = [{"candidate_id": "c", "method": "card"}] * 2 + [{"method": "card"}]
    assert pointers(question, now) == ["/candidates/1/candidate_id", "/candidates/2/candidate_id"]


def test_an_earlier_attempt_takes_from_the_payment_what_it_leaves_out(question, now):
    question["previous"] = [earlier(outcome="technical", reason="processor_error")]
    (row,) = reader.read(question, now=now).previous
    assert (row["payment_id"], row["amount_minor"], row["currency"], row["country"]) == (
        "p1",
        38000,
        "KRW",
        "KR",
    )
    assert row["outcome"] == "technical"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"payment_id": "p2"}, "payment_id"),
        ({"attempt_id": "a1"}, "attempt_id"),
        ({"created_at": "2026-01-05T09:31:00Z"}, "created_at"),
        ({"resolved_at": "2026-01-05T09:28:00Z"}, "resolved_at"),
        ({"outcome": "declined"}, "outcome"),
    ],
)
def test_an_earlier_attempt_that_cannot_be_one_is_refused(question, now, values, field):
    question["previous"] = [earlier(**values)]
    assert pointers(question, now) == [f"/previous/0/{field}"]


def test_earlier_attempts_come_oldest_first(question, now):
    newer, older = earlier(), earlier(attempt_id="a00", created_at="2026-01-05T09:28:00Z")
    question["previous"] = [newer, older]
    assert pointers(question, now) == ["/previous/1/created_at"]


def test_an_end_before_the_start_is_refused(question, now):
    question["evidence"]["resolved_at"] = "2026-01-05T09:29:59Z"
    assert pointers(question, now) == ["/evidence/resolved_at"]


def test_a_declared_column_is_read_like_any_other(question, now):
    loyalty = Column("loyalty", "float64", "points", required=False, for_training=False, known="before", meaning="")
    question["attempt"]["loyalty"] = 12
    assert RequestReader([loyalty]).read(question, now=now).attempt["loyalty"] == 12.0
    assert pointers(question, now) == ["/attempt/loyalty"]


@pytest.mark.parametrize("kind", ["float64", "int64"])
@pytest.mark.parametrize("number", [int(PAN), -int(PAN), float(PAN), -float(PAN)])
def test_a_card_number_is_none_for_a_declared_column_whatever_its_sign(question, now, kind, number):
    own = Column("loyalty", kind, "points", required=False, for_training=False, known="before", meaning="")
    question["attempt"]["loyalty"] = number
    with pytest.raises(BadInput) as caught:
        RequestReader([own]).read(question, now=now)
    assert [fault.allowed for fault in caught.value.faults] == [CARD_NUMBER]


def test_a_batch_points_into_its_items(question, now):
    with pytest.raises(BadInput) as caught:
        reader.read_batch([question, {"attempt": question["attempt"] | {"currency": "EU"}}], now=now, most=2)
    assert [fault.pointer for fault in caught.value.faults] == ["/1/attempt/currency"]


@pytest.mark.parametrize("raw", [{}, "x", [{}, {}, {}]])
def test_a_batch_is_an_array_of_limited_length(raw, now):
    with pytest.raises(BadInput) as caught:
        reader.read_batch(raw, now=now, most=2)
    assert [fault.pointer for fault in caught.value.faults] == [""]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
secrets = st.sampled_from([PAN, int(PAN), float(PAN), "4111-1111-1111-1111", f"pan={PAN}"])
anything = st.recursive(
    scalars | secrets,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just(PAN), inner, max_size=3),
    max_leaves=12,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "attempt": anything | st.dictionaries(st.sampled_from(["method", "created_at", "amount_minor", PAN]), anything),
        "evidence": anything | st.dictionaries(st.sampled_from(["duration_s", "resolved_at", "x"]), anything),
        "previous": anything | st.lists(st.dictionaries(st.sampled_from(["created_at", "outcome"]), anything)),
        "candidates": anything | st.lists(st.dictionaries(st.sampled_from(["candidate_id", "wait_s"]), anything)),
    },
)


@given(anything | parts)
def test_whatever_comes_is_refused_with_pointers_and_without_a_card_number(raw):
    with pytest.raises(BadInput) as caught:
        reader.read(raw, now=1_767_700_000_000_000)
    assert caught.value.faults
    for fault in caught.value.faults:
        assert PAN not in f"{fault}{fault.pointer}"
        assert fault.seen is None


def test_what_was_refused_is_refused_again_and_what_was_taken_is_taken_again(question, now):
    again = RequestReader()
    for _ in range(2):
        question["attempt"]["issuer"] = "bank of nowhere"
        assert again.read(question, now=now).attempt["issuer"] == "bank of nowhere"
        for refused in (PAN, "\n", "123456789", 7, True, ["bank of nowhere"]):
            question["attempt"]["issuer"] = refused
            with pytest.raises(BadInput, match="issuer"):
                again.read(question, now=now)


def test_no_more_texts_are_remembered_than_have_a_place(question, now):
    again = RequestReader()
    for i in range(MOST_TAKEN + 5):
        question["attempt"]["route"] = f"route {i}"
        assert again.read(question, now=now).attempt["route"] == f"route {i}"
    assert len(again._attempt["route"].taken) <= MOST_TAKEN


def either_way(raw, now, whose=reader):
    """What a plain request is read as, and what any is; None where it is refused."""
    body = json.dumps(raw).encode()
    try:
        slowly = whose.read(json.loads(body), now=now)
    except BadInput:
        slowly = None
    return whose.read_plain(body, now=now), slowly


def types_in(request):
    told = [request.attempt, request.evidence or {}, *request.previous, *(request.candidates or ())]
    return [{name: type(value) for name, value in fields.items()} for fields in told]


def test_a_plain_request_is_read_at_one_go_and_as_any_other(question, now):
    question["previous"] = [earlier(duration_s=3, outcome="bank_decline", resolved_at="2026-01-05T09:29:30.5+00:00")]
    plain, slowly = either_way(question, now)
    assert plain == slowly
    assert types_in(plain) == types_in(slowly)
    for left_out in ("evidence", "previous", "candidates"):
        plain, slowly = either_way({**question, left_out: None}, now)
        assert plain == slowly == either_way({n: part for n, part in question.items() if n != left_out}, now)[0]
        assert plain is not None


values = (
    scalars
    | secrets
    | st.sampled_from(
        ["card", "KR", "EUR", "none", "2026-01-05T09:30:00Z", "2031-01-05T09:30:00Z", "1999-01-01T00:00:00Z"]
    )
    | st.sampled_from(["2026-01-05T09:30:00.1234567Z", "2026-01-05 09:30:00+09:00", "2026-01-05T09:30:00+0900", "a@b"])
    | st.sampled_from(
        [-1, 0, 1, 5.0, 0.5, 51, 10**12, 10**15, 10**16, 1e300, "123456789", "x" * 65, "x" * 129, "\u200b"]
    )
)
places = st.sampled_from(["attempt", "evidence", "previous", "candidates"])


@given(place=places, name=st.sampled_from([*reader._columns, "cvv", "x"]), value=values)
@example(place="attempt", name="prior_payments", value=3.0)
@example(place="attempt", name="created_at", value="2026-01-05T09:30:00.1234567Z")
@example(place="attempt", name="network_rtt_ms", value=3)
@example(place="candidates", name="wait_s", value=-0.0)
@example(place="previous", name="currency", value=None)
def test_what_is_read_at_one_go_is_what_any_reader_takes(place, name, value):
    now = 1_767_700_000_000_000
    question = deepcopy(PLAIN)
    (question[place][-1] if type(question[place]) is list else question[place])[name] = value
    plain, slowly = either_way(question, now)
    if plain is not None:
        assert plain == slowly
        assert types_in(plain) == types_in(slowly)


PLAIN = {
    "attempt": {
        "attempt_id": "a1", "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z", "amount_minor": 100, "currency": "KRW",
        "country": "KR", "method": "card",
    },
    "evidence": {"response_code": "05", "code_scheme": "iso8583"},
    "previous": [earlier(), earlier(attempt_id="a01", created_at="2026-01-05T09:29:10Z")],
    "candidates": [{"candidate_id": "c1", "method": "card"}, {"candidate_id": "c2", "method": "wallet"}],
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"attempt": PLAIN["attempt"] | {"attempt_id": PAN}},
        {"attempt": PLAIN["attempt"] | {"route": "4111-1111-1111-1111"}},
        {"attempt": PLAIN["attempt"] | {"cvv": "123"}},
        {"attempt": PLAIN["attempt"] | {"customer_id": "a@b"}},
        {"attempt": PLAIN["attempt"] | {"issuer": "123456789"}},
        {"attempt": PLAIN["attempt"] | {"created_at": "2031-01-05T09:30:00Z"}},
        {"evidence": {"resolved_at": "2026-01-05T09:29:59Z"}},
        {"evidence": {"outcome": "success"}},
        {"previous": [earlier(attempt_id="a1")]},
        {"previous": [earlier(payment_id="p2")]},
        {"previous": [earlier(created_at="2026-01-05T09:31:00Z")]},
        {"previous": [earlier(attempt_id=f"a-{i}") for i in range(MOST_PREVIOUS + 1)]},
        {"candidates": [{"candidate_id": "c1", "method": "card"}] * 2},
        {"candidates": [{"candidate_id": f"c{i}", "method": "card"} for i in range(MOST_CANDIDATES + 1)]},
        {"candidates": [{"candidate_id": "c1", "method": "card", "pan": PAN}]},
        {"more": 1},
    ],
)
def test_what_is_not_right_is_not_plain(now, changed):
    assert either_way(PLAIN, now)[0] is not None
    assert either_way(PLAIN | changed, now) == (None, None)


def test_candidates_that_come_again_are_read_once(now):
    again = RequestReader()
    first, second = (either_way(PLAIN, now, again)[0] for _ in range(2))
    assert second == first
    assert second.candidates is first.candidates
    other = PLAIN | {"candidates": [{"candidate_id": "c1", "method": "wallet"}]}
    assert either_way(other, now, again)[0].candidates[0]["method"] == "wallet"


@pytest.mark.parametrize("refused", [{"candidate_id": "c1"}, {"candidate_id": PAN, "method": "card"}, 7, None])
def test_candidates_that_are_not_plain_are_not_kept(refused, now):
    again = RequestReader()
    for _ in range(2):
        plain, slowly = either_way(PLAIN | {"candidates": [refused]}, now, again)
        assert plain is slowly is None
    assert not again._lists


def test_no_more_candidates_are_kept_than_have_a_place(monkeypatch, now):
    monkeypatch.setattr("serving.requests._MOST_LISTS", 4)
    again = RequestReader()
    for i in range(9):
        named = [{"candidate_id": f"c{i}", "method": "card"}]
        assert either_way(PLAIN | {"candidates": named}, now, again)[0].candidates[0]["candidate_id"] == f"c{i}"
        assert len(again._lists) == min(i + 1, 4)
    monkeypatch.setattr("serving.requests._MOST_LIST_BYTES", 8)
    large = RequestReader()
    assert either_way(PLAIN, now, large)[0] is not None
    assert not large._lists


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff", b'{"attempt":{"issuer":"caf\xe9"}}', b'{"attempt":NaN}', b"[" * 10_000]
)
def test_what_is_no_request_is_not_plain(body, now):
    assert reader.read_plain(body, now=now) is None


@pytest.mark.parametrize(
    "named", [b"[" * 990, b'{"a":' * 990, b"[" * 990 + b"]" * 990, b'["\xff"]', b"[1e999]", b"[NaN]", b"{}", b"1"]
)
@pytest.mark.parametrize("more", [b"}", b',"candidates":[]}', b',"candidates":null}'])
def test_what_are_no_candidates_are_not_plain(named, more, now):
    attempt = json.dumps(PLAIN["attempt"]).encode()
    assert reader.read_plain(b'{"attempt":' + attempt + b"}", now=now) is not None
    assert reader.read_plain(b'{"attempt":' + attempt + b',"candidates":' + named + more, now=now) is None


def test_a_card_number_that_a_name_given_twice_hides_is_not_kept(now):
    again = RequestReader()
    hidden = json.dumps(PLAIN).replace('"candidate_id": "c2"', f'"candidate_id": "{PAN}", "candidate_id": "c2"')
    assert again.read_plain(hidden.encode(), now=now).candidates[1]["candidate_id"] == "c2"
    assert len(again._lists) == 1
    assert PAN not in repr(again._lists)


def test_a_declared_column_may_have_any_name_and_is_plain(now):
    own = Column("class", "float64", "points", required=False, for_training=False, known="before", meaning="")
    plain, slowly = either_way(PLAIN | {"attempt": PLAIN["attempt"] | {"class": 12}}, now, RequestReader([own]))
    assert plain == slowly
    assert plain.attempt["class"] == 12.0

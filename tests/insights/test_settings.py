"""The settings of the pages: what is meant is read, and all that is not is told at once."""

import pytest

from features.errors import BadInput
from insights.settings import InsightSettings, Mark, read_insight_settings


@pytest.fixture
def read(tmp_path):
    def _read(text):
        path = tmp_path / "insights.yaml"
        path.write_text(text, encoding="utf-8")
        return read_insight_settings(path)

    return _read


def test_everything_that_can_be_told_is_read(read, tmp_path):
    found = read(
        "targets: {payment: 0.9}\ncurrency: EUR\nrates: {KRW: 0.0006}\nbacklog: ours.yaml\n"
        "marks:\n- {kind: release, at: 2026-01-05, label: 4.2 is out}\n"
        "- {kind: outage, at: '2026-01-05T01:00+01:00', until: 2026-01-05 02:00, label: north}\n"
    )
    assert (found.targets, found.currency, found.rates) == ({"payment": 0.9}, "EUR", {"KRW": 0.0006})
    assert found.backlog == tmp_path / "ours.yaml"
    midnight, hour = 1_767_571_200_000_000, 3_600_000_000
    assert found.marks == (
        Mark("release", midnight, None, "4.2 is out"),
        Mark("outage", midnight, midnight + 2 * hour, "north"),
    )


def test_no_file_and_an_empty_one_are_the_defaults(read):
    assert read_insight_settings(None) == InsightSettings() == read("")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("target: 1", "target: want one of targets"),
        ("targets: {payments: 0.5}", "targets.payments: want one of attempt, payment, first_time"),
        ("targets: {payment: 85}", "targets.payment '85': want a share between 0 and 1"),
        ("targets: [1]", "targets: want a share for each"),
        ("currency: EU", "currency 'EU': want an ISO 4217 code"),
        ("rates: {KRW: 1}", "rates: want a number for each other currency, beside `currency`"),
        ("currency: EUR\nrates: {KRW: -1}", "rates.KRW '-1': want a number above 0"),
        ("marks: [{kind: party, at: 2026-01-05, label: x}]", "row 1, marks.kind 'party': want one of release"),
        ("marks: [{kind: release, at: soon, label: x}]", "row 1, marks.at 'soon': want a date or a time in UTC"),
        ("marks: [{kind: outage, at: 2026-01-05, until: 2026-01-04, label: x}]", "after `at`"),
        ("marks: [{kind: release, at: 2026-01-05, label: 4111111111111111}]", "row 1, marks.label: want a text"),
        ("marks: 3", "marks: want a list of marks"),
        ("- a", "want settings by name"),
        ("a: [", "is no YAML"),
        ("backlog: 3", "backlog: want the name of a YAML file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_allowed(read, text, told):
    with pytest.raises(BadInput) as refused:
        read(text)
    assert told in str(refused.value)
    assert "4111" not in str(refused.value)


def test_all_faults_are_told_at_once(read):
    with pytest.raises(BadInput) as refused:
        read("targets: {payment: 2}\ncurrency: E\nmarks: [{}]")
    assert len(refused.value.faults) == 5


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_insight_settings(tmp_path / "no.yaml")

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features import kernel
from features.definitions import feature_names
from features.history import History, features_in_passing
from features.rows import Encoder

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)  # a Monday, 18:30 in Korea
HOUR = 3_600_000_000
T0 = int(START.timestamp()) * 1_000_000
DEFAULTS = {
    "payment_id": "p1",
    "customer_id": "c1",
    "created_at": T0,
    "amount_minor": 38_000,
    "currency": "KRW",
    "country": "KR",
    "merchant_country": "KR",
    "method": "card",
    "card_brand": "visa",
    "issuer": "bank",
    "issuer_country": "KR",
    "route": "north",
    "auth_flow": "challenge",
}


def us(**after):
    return T0 + timedelta(**after) // timedelta(microseconds=1)


def attempt(**changes):
    return {name: value for name, value in {**DEFAULTS, **changes}.items() if value is not None}


def ended(outcome, created, resolved=None, **changes):
    return attempt(created_at=created, resolved_at=resolved or created, outcome=outcome, **changes)


def other(**changes):
    """Whatever is not the first attempt's: shares only the slot of everything."""
    return {
        **{"payment_id": "px", "customer_id": "cx", "issuer": "elsewhere", "route": "far", "country": "JP"},
        **changes,
    }


@pytest.fixture
def look(as_table):
    """The features of the last of some attempts, by name."""

    def features(*attempts, usual=None):
        table = as_table([{"attempt_id": f"a{i}", **one} for i, one in enumerate(attempts)])
        encoder = Encoder.fit(table)
        if usual is not None:
            encoder = Encoder(encoder.vocabularies, usual)
        matrix = features_in_passing(encoder.from_table(table), History())
        return dict(zip(feature_names(), matrix[-1].tolist(), strict=True))

    return features


def fade(hours, half_life):
    return 2.0 ** (-hours / half_life)


class TestTheAttempt:
    @pytest.mark.parametrize(
        ("currency", "minor", "major"), [("KRW", 38_000, 38_000), ("USD", 1_999, 19.99), ("KWD", 1_500, 1.5)]
    )
    def test_an_amount_is_told_in_major_units(self, look, currency, minor, major):
        assert look(attempt(currency=currency, amount_minor=minor))["amount"] == pytest.approx(major)

    def test_an_amount_is_compared_with_the_usual_one_in_doublings(self, look):
        usual = {"USD": np.log2(20.0)}
        seen = look(attempt(currency="USD", amount_minor=8_000), usual=usual)
        assert seen["amount_against_usual"] == pytest.approx(2.0)

    def test_in_a_currency_never_seen_no_amount_is_usual(self, look):
        seen = look(attempt(currency="CHF"), usual={"KRW": 10.0})
        assert np.isnan(seen["amount_against_usual"])
        assert seen["amount"] == 380.0

    def test_an_amount_of_nothing_is_a_number(self, look):
        assert np.isfinite(look(attempt(amount_minor=0))["amount_against_usual"])

    @pytest.mark.parametrize(
        ("country", "created", "hour", "weekend", "day"),
        [
            ("KR", us(), 18.5, 0.0, 5.0),
            ("KR", us(hours=6), 0.5, 0.0, 6.0),  # past midnight there
            ("US", us(), 4.5, 0.0, 5.0),
            ("US", us(days=5, hours=-6), 22.5, 0.0, 9.0),  # Saturday in London, still Friday in New York
            ("KR", us(days=5), 18.5, 1.0, 10.0),
            ("KR", us(days=6), 18.5, 1.0, 11.0),
            ("KR", us(days=7), 18.5, 0.0, 12.0),
            ("GB", us(days=54), 9.5, 1.0, 28.0),
            ("GB", us(days=55), 9.5, 1.0, 1.0),  # no 29 February in 2026
        ],
    )
    def test_the_clock_is_the_buyer_s(self, look, country, created, hour, weekend, day):
        seen = look(attempt(country=country, created_at=created))
        assert (seen["hour"], seen["weekend"], seen["day_of_month"]) == (hour, weekend, day)

    def test_every_day_of_four_years_has_its_day_of_the_month(self):
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        for day in range(19_700, 19_700 + 4 * 366):
            assert kernel._day_of_month(day) == (epoch + timedelta(days=day)).day

    @pytest.mark.parametrize(("prior", "first"), [(0, 1.0), (3, 0.0), (None, np.nan)])
    def test_a_first_time_payer_has_paid_nothing_before(self, look, prior, first):
        assert look(attempt(prior_payments=prior))["first_time"] == pytest.approx(first, nan_ok=True)

    @pytest.mark.parametrize(
        ("issuer", "merchant", "abroad"), [("KR", "KR", 0.0), ("US", "KR", 1.0), (None, "KR", np.nan)]
    )
    def test_a_card_from_another_country_than_the_merchant_crosses_a_border(self, look, issuer, merchant, abroad):
        seen = look(attempt(issuer_country=issuer, merchant_country=merchant))
        assert seen["cross_border"] == pytest.approx(abroad, nan_ok=True)


class TestThePayment:
    def test_a_first_attempt_has_none_before(self, look):
        seen = look(attempt())
        assert [seen[name] for name in ("attempts_before", "method_tries", "route_tries", "technical_before")] == [
            0.0
        ] * 4
        missing = ("last_outcome", "last_reason", "seconds_since_last", "last_duration_s", "same_method", "same_route")
        assert np.isnan([seen[name] for name in missing]).all()

    def test_earlier_attempts_are_counted_by_what_became_of_them(self, look):
        seen = look(
            ended("technical", us(minutes=-9)),
            ended("bank_decline", us(minutes=-6)),
            ended("bank_decline", us(minutes=-3)),
            attempt(),
        )
        counts = {
            name: seen[f"{name}_before"] for name in ("technical", "bank_decline", "authentication", "user_abandonment")
        }
        assert counts == {"technical": 1.0, "bank_decline": 2.0, "authentication": 0.0, "user_abandonment": 0.0}
        assert seen["attempts_before"] == 3.0

    def test_the_last_attempt_is_described(self, look):
        last = ended(
            "technical", us(seconds=-90), us(seconds=-60), reason="processor_error", duration_s=30.0, route="harbor"
        )
        seen = look(ended("bank_decline", us(minutes=-9)), last, attempt())
        assert seen["last_outcome"] == 4.0
        assert seen["last_reason"] == 0.0  # the only reason that there is
        assert seen["seconds_since_last"] == 90.0
        assert seen["last_duration_s"] == 30.0
        assert (seen["same_method"], seen["same_route"], seen["same_flow"]) == (1.0, 0.0, 1.0)

    def test_an_earlier_attempt_still_under_way_counts_but_its_end_is_not_known(self, look):
        under_way = ended("technical", us(seconds=-90), us(seconds=1), reason="processor_error", duration_s=91.0)
        seen = look(under_way, attempt())
        assert (seen["attempts_before"], seen["technical_before"]) == (1.0, 0.0)
        assert np.isnan([seen["last_outcome"], seen["last_reason"], seen["last_duration_s"]]).all()

    def test_a_failure_that_nobody_explained_is_of_no_category(self, look):
        seen = look(ended("unclassified", us(minutes=-1)), attempt())
        assert seen["last_outcome"] == 5.0
        assert sum(seen[f"{name}_before"] for name in ("technical", "bank_decline", "authentication")) == 0.0

    def test_tries_count_the_same_method_and_the_same_method_on_the_same_route(self, look):
        seen = look(
            ended("technical", us(minutes=-9), route="harbor"),
            ended("technical", us(minutes=-6)),
            ended("technical", us(minutes=-3), method="wallet"),
            attempt(),
        )
        assert (seen["attempts_before"], seen["method_tries"], seen["route_tries"]) == (3.0, 2.0, 1.0)
        assert seen["same_method"] == 0.0

    def test_the_same_way_is_tried_only_with_its_method_route_and_flow(self, look):
        seen = look(
            ended("technical", us(minutes=-12), auth_flow="frictionless"),
            ended("technical", us(minutes=-9), route="harbor"),
            ended("technical", us(minutes=-6), method="wallet"),
            ended("technical", us(minutes=-3)),
            attempt(),
        )
        assert (seen["method_tries"], seen["route_tries"], seen["way_tries"]) == (3.0, 2.0, 1.0)

    def test_the_last_attempt_with_this_method_is_described_even_if_another_method_came_after(self, look):
        seen = look(
            ended("technical", us(seconds=-300), reason="processor_error", auth_flow="frictionless"),
            ended("bank_decline", us(seconds=-200), reason="insufficient_funds", route="harbor"),
            ended("technical", us(seconds=-100), reason="processor_error", method="wallet", route="harbor"),
            attempt(),
        )
        assert {seen["last_reason"], seen["method_last_reason"]} == {0.0, 1.0}  # two reasons, each its own
        assert (seen["seconds_since_last"], seen["seconds_since_method"]) == (100.0, 200.0)
        assert (seen["method_same_route"], seen["method_same_flow"]) == (0.0, 1.0)

    def test_a_method_never_tried_has_no_last_attempt(self, look):
        seen = look(ended("technical", us(minutes=-3), reason="processor_error", method="wallet"), attempt())
        about = ("method_last_reason", "seconds_since_method", "method_same_route", "method_same_flow")
        assert np.isnan([seen[name] for name in about]).all()
        assert (seen["method_tries"], seen["way_tries"]) == (0.0, 0.0)

    def test_why_this_method_failed_is_missing_until_it_is_known(self, look):
        under_way = ended("technical", us(seconds=-90), us(seconds=1), reason="processor_error")
        seen = look(under_way, attempt())
        assert np.isnan(seen["method_last_reason"])
        assert (seen["seconds_since_method"], seen["method_same_route"], seen["way_tries"]) == (90.0, 1.0, 1.0)

    def test_another_payment_s_attempts_are_not_this_one_s(self, look):
        assert look(ended("technical", us(minutes=-1), payment_id="p0"), attempt())["attempts_before"] == 0.0

    def test_a_runaway_loop_is_looked_at_for_its_last_fifty(self, look):
        loop = [ended("technical", us(minutes=-i)) for i in range(60, 0, -1)]
        assert look(*loop, attempt())["attempts_before"] == 50.0


class TestThePast:
    def test_a_rate_fades_with_its_half_life_and_leans_on_the_longer_one_and_on_its_parent(self, look):
        seen = look(ended("success", us(hours=-6), payment_id="p0"), attempt())
        hour, day, month = fade(6, 1), fade(6, 24), fade(6, 720)
        all_month = (month + 4 * 0.5) / (month + 4)
        all_day = (day + 4 * all_month) / (day + 4)
        assert seen["all_success_rate_30d"] == pytest.approx(all_month)
        assert seen["all_success_rate_1d"] == pytest.approx(all_day)
        assert seen["all_success_rate_1h"] == pytest.approx((hour + 4 * all_day) / (hour + 4))
        issuer_month = (month + 4 * all_month) / (month + 4)
        assert seen["issuer_success_rate_30d"] == pytest.approx(issuer_month)
        assert seen["issuer_route_success_rate_30d"] == pytest.approx((month + 4 * issuer_month) / (month + 4))

    def test_two_outcomes_fade_each_from_its_own_end(self, look):
        past = [ended("success", us(hours=-3), payment_id="p0"), ended("technical", us(hours=-1), payment_id="p00")]
        seen = look(*past, attempt())
        assert seen["customer_attempts_1h"] == pytest.approx(fade(3, 1) + fade(1, 1))
        assert seen["customer_attempts_30d"] == pytest.approx(fade(3, 720) + fade(1, 720))
        assert seen["customer_method_attempts_30d"] == pytest.approx(fade(3, 720) + fade(1, 720))

    def test_an_outcome_fades_from_when_it_became_known_not_from_when_its_attempt_began(self, look):
        seen = look(ended("success", us(hours=-9), us(hours=-1), payment_id="p0"), attempt())
        assert seen["customer_attempts_1h"] == pytest.approx(0.5)

    def test_with_no_past_of_its_own_everything_is_as_in_its_parent(self, look):
        seen = look(ended("success", us(hours=-1), **other()), attempt())
        parent = seen["all_success_rate_30d"]
        assert parent > 0.5
        for name in ("issuer", "route", "method", "customer", "customer_method", "issuer_route", "way"):
            assert seen[f"{name}_success_rate_1h"] == pytest.approx(parent)

    def test_what_has_no_issuer_has_no_issuer_s_past(self, look):
        seen = look(ended("success", us(hours=-1)), attempt(issuer=None))
        assert np.isnan(
            [seen["issuer_success_rate_1h"], seen["issuer_technical_rate_1h"], seen["issuer_technical_streak"]]
        ).all()
        assert np.isnan(seen["issuer_route_success_rate_1h"])
        assert np.isfinite(seen["route_success_rate_1h"])

    def test_without_a_customer_nothing_is_said_of_one(self, look):
        seen = look(ended("success", us(hours=-1), customer_id=None), attempt(customer_id=None))
        about = [
            value for name, value in seen.items() if name.startswith("customer_") and name != "customer_tenure_days"
        ]
        assert len(about) == 17
        assert np.isnan([*about, seen["amount_against_paid"], seen["amount_against_declined"]]).all()

    def test_technical_failures_in_a_row_end_with_another_outcome_and_not_with_an_unexplained_one(self, look):
        def streak(*outcomes):
            past = [ended(name, us(hours=i - 20), payment_id=f"p{i}x") for i, name in enumerate(outcomes)]
            return look(*past, attempt())["route_technical_streak"]

        assert streak("technical", "technical") == 2.0
        assert streak("technical", "unclassified", "technical") == 2.0
        assert streak("technical", "success") == 0.0
        assert streak("technical", "bank_decline", "technical") == 1.0

    def test_technical_failures_of_a_route_lean_on_its_month_and_on_everything_s(self, look):
        seen = look(ended("technical", us(hours=-1), payment_id="p0"), attempt())
        hour, month = fade(1, 1), fade(1, 720)
        everything = month / (month + 4)
        lately = (month + 4 * everything) / (month + 4)
        assert seen["route_technical_rate_1h"] == pytest.approx((hour + 4 * lately) / (hour + 4))

    def test_declines_of_an_issuer_are_told_at_a_day(self, look):
        seen = look(ended("bank_decline", us(hours=-12), payment_id="p0"), attempt())
        day, month = fade(12, 24), fade(12, 720)
        everything = month / (month + 4)
        lately = (month + 4 * everything) / (month + 4)
        assert seen["issuer_bank_decline_rate_1d"] == pytest.approx((day + 4 * lately) / (day + 4))

    def test_a_customer_s_declines_are_held_against_what_was_usual_for_how_they_paid(self, look):
        seen = look(ended("bank_decline", us(hours=-72), payment_id="p0"), attempt())
        left = fade(72, 720)
        assert seen["customer_bank_decline_against_usual"] == pytest.approx((left + 0.5) / (0.1 * left + 0.5))
        assert seen["customer_technical_against_usual"] == pytest.approx(0.5 / (0.1 * left + 0.5))

    def test_a_new_customer_is_as_usual(self, look):
        seen = look(ended("bank_decline", us(hours=-72), **other()), attempt())
        assert seen["customer_bank_decline_against_usual"] == 1.0
        assert np.isnan([seen["amount_against_paid"], seen["amount_against_declined"]]).all()

    def test_an_amount_is_held_against_the_largest_paid_and_the_smallest_declined(self, look):
        past = [
            ended(outcome, us(hours=hours), payment_id=f"p{hours}", amount_minor=amount)
            for hours, outcome, amount in (
                (-5, "success", 10_000), (-4, "success", 20_000), (-3, "bank_decline", 160_000), (-2, "bank_decline", 640_000),
            )
        ]  # fmt: skip
        seen = look(*past, attempt(amount_minor=40_000))
        assert seen["amount_against_paid"] == pytest.approx(1.0)
        assert seen["amount_against_declined"] == pytest.approx(-2.0)

    def test_an_amount_in_a_currency_never_seen_does_not_spoil_what_was_paid(self, look):
        usual = {"KRW": np.log2(10_000)}
        past = [
            ended("success", us(hours=-5), payment_id="p0", amount_minor=20_000),
            ended("success", us(hours=-4), payment_id="p00", currency="CHF"),
        ]
        assert look(*past, attempt(amount_minor=40_000), usual=usual)["amount_against_paid"] == pytest.approx(1.0)


class TestLateOutcomes:
    def test_an_outcome_that_comes_late_has_faded_as_if_it_had_come_in_time(self, as_table):
        table = as_table(
            [
                ended("success", us(days=30), attempt_id="a1", payment_id="p1"),
                ended("technical", us(), attempt_id="a2", payment_id="p2", method="wallet", country="JP"),
            ]
        )
        rows = Encoder.fit(table).from_table(table)
        in_time, late = History(), History()
        in_time.record(rows)
        keys = late.keys_of(rows)
        late.enter(rows, np.array([0, 1]), keys)
        customer = late.slots["customer\x1fc1"]
        np.testing.assert_allclose(late.sums[customer, :3], in_time.sums[in_time.slots["customer\x1fc1"], :3])
        # expected: 0.1 of each category for the first, half of 0.1 / 2 for the second, which is a half-life late
        np.testing.assert_allclose(late.sums[customer, 3, 1:5], 0.1 + 0.05 * 0.5)
        assert late.times[customer] == us(days=30)
        assert late.streaks[customer] == 0

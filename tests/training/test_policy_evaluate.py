"""Policies judged by tables of attempts: what is read of a log, what a policy would have done in it, what that earned."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import payrescue
from features.attempts import check_attempts, read_attempts
from features.errors import BadInput
from models.fees import Fee, Fees
from models.means import MEANS, OF_THE_METHOD
from models.policies import Always, Budget, Decision, Way
from models.success_rate import SuccessRate
from models.tables import score_table
from models.variants import what_if
from training.policy_budget import bargains, border
from training.policy_evaluate import PolicyQuestion, evaluate_policies
from training.policy_log import ACTION, OptionKey, read_log, read_propensities
from training.policy_model import cross_fitted, situations
from training.policy_options import option_success, with_option
from training.policy_targets import always, by_policy, by_scores, logged, standing

ROOT = Path(payrescue.__file__).parent
SHOP = ROOT.parent / "shared" / "data" / "shop_attempts.csv"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHARES = {"north": 0.5, "harbor": 0.3, "summit": 0.2}
RATES = {("visa", "north"): 0.4, ("visa", "harbor"): 0.7, ("visa", "summit"): 0.2,
         ("jcb", "north"): 0.5, ("jcb", "harbor"): 0.2, ("jcb", "summit"): 0.3}  # fmt: skip
FEES = Fees("EUR", {"north": Fee(1.0, 0.5), "harbor": Fee(4.0, 2.0), "summit": Fee(0.5, 0.1)}, margin=0.5)
ROUTE = PolicyQuestion(chosen=("route",), resamples=100)


def attempts(n=3000, seed=0, **columns):
    """First attempts by card, one a minute, whose route was drawn with SHARES and whose success depends on brand and route."""
    rng = np.random.default_rng(seed)
    brand = rng.choice(["visa", "jcb"], n)
    route = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    rate = np.array([RATES[pair] for pair in zip(brand, route, strict=True)])
    created = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.arange(n), unit="min")
    table = pd.DataFrame(
        {
            "attempt_id": [f"a{i}" for i in range(n)],
            "payment_id": [f"p{i}" for i in range(n)],
            "created_at": created,
            "resolved_at": created + pd.Timedelta(seconds=5),
            "amount_minor": 1000,
            "currency": "EUR",
            "country": "DE",
            "method": "card",
            "route": route,
            "card_brand": brand,
            "outcome": np.where(rng.random(n) < rate, "success", "unclassified"),
            "policy": "drawn",
            "propensity": [SHARES[name] for name in route],
        }
        | columns
    )
    return check_attempts(table, now=NOW)


@pytest.fixture(scope="module")
def drawn():
    return attempts()


LATE = PolicyQuestion(chosen=("route",), last=0.4, fees=FEES, resamples=100)


@pytest.fixture(scope="module")
def found(drawn):
    """Every kind of policy, judged by the last 1,200 decisions."""
    policies = [
        *("always:route=north", "always:route=harbor", "greedy", "explore", "success_rate", "rules"),
        "budget:fee=1.2",
    ]
    return evaluate_policies(drawn, policies, LATE)


@pytest.fixture(scope="module")
def late(table):
    """The end of the simulated market's attempts."""
    return table.iloc[-400:].reset_index(drop=True)


def value(found, name, reward="success", estimator="snips"):
    return found["policies"][name][reward][estimator]["value"]


class TestLog:
    def test_open_is_what_was_done_in_the_same_country_with_the_same_of_what_was_not_chosen(self):
        table = attempts(60, country=["DE"] * 30 + ["FR"] * 30, route=["north", "harbor"] * 15 + ["summit"] * 30)
        log = read_log(table, chosen=("route",))
        seen = {
            (c, log.options[k].route)
            for c, row in zip(log.table["country"], log.open, strict=True)
            for k in np.flatnonzero(row)
        }
        assert seen == {("DE", "north"), ("DE", "harbor"), ("FR", "summit")}

    def test_what_was_not_chosen_stays_as_it_was(self, drawn):
        flows = drawn.assign(auth_flow=pd.Categorical(np.where(np.arange(len(drawn)) % 2, "challenge", "none")))
        log = read_log(flows, chosen=("route",))
        assert log.open.sum(axis=1).tolist() == [3] * len(log)
        for row, done in zip(log.open[:50], log.done[:50], strict=True):
            assert {log.options[k].auth_flow for k in np.flatnonzero(row)} == {log.options[done].auth_flow}

    def test_pending_attempts_are_no_decisions_to_judge_by(self, drawn):
        pending = drawn.assign(
            outcome=drawn["outcome"].where(drawn.index > 9), resolved_at=drawn["resolved_at"].where(drawn.index > 9)
        )
        assert len(read_log(pending, chosen=("route",))) == len(drawn) - 10

    def test_without_propensities_it_is_said_how_to_give_them(self, drawn):
        with pytest.raises(BadInput, match="--propensity route=NAME:SHARE"):
            read_log(drawn.drop(columns="propensity"))

    def test_propensities_of_a_column_s_values_stand_in(self, drawn):
        given = read_propensities("route=north:0.5,harbor:0.3,summit:0.2")
        log = read_log(drawn.drop(columns="propensity"), chosen=("route",), propensities=given)
        assert log.propensity.tolist() == drawn["propensity"].tolist()

    @pytest.mark.parametrize(
        "text", ["route", "route=north", "route=north:2", "route=north:0.5", "land=a:1.0", "route=north:x"]
    )
    def test_propensities_that_are_none_are_refused(self, text):
        with pytest.raises(BadInput, match="--propensity"):
            read_propensities(text)

    def test_a_value_without_its_share_is_named(self, drawn):
        with pytest.raises(BadInput, match="route 'summit': want a share for every value"):
            read_log(drawn, propensities=("route", {"north": 0.6, "harbor": 0.4}))

    def test_what_is_chosen_is_of_the_action(self, drawn):
        with pytest.raises(BadInput, match="--chosen: name 'colour': want some of method, route, auth_flow"):
            read_log(drawn, chosen=("colour",))

    def test_the_inverse_propensities_tell_how_many_options_there_were(self, drawn):
        assert read_log(drawn, chosen=("route",)).implied_options() == pytest.approx(3.0, abs=0.2)


class TestTargets:
    def test_always_does_as_logged_where_what_is_pinned_is_not_open(self):
        table = attempts(60, country=["DE"] * 30 + ["FR"] * 30, route=["north", "harbor"] * 15 + ["summit"] * 30)
        log = read_log(table, chosen=("route",))
        target = always(log, Always(route="north"), standing(log, table))
        assert target.as_logged.tolist() == [False] * 30 + [True] * 30
        assert target.shares[:30].sum(axis=1).tolist() == [1.0] * 30

    def test_what_was_not_chosen_cannot_be_pinned(self, drawn):
        with pytest.raises(BadInput, match="want what the logged policy chose: route"):
            evaluate_policies(drawn, ["always:method=wallet"], ROUTE)

    def test_what_was_never_done_cannot_be_pinned(self, drawn):
        with pytest.raises(BadInput, match="want what the log has done: harbor, north, summit"):
            evaluate_policies(drawn, ["always:route=delta"], ROUTE)

    def test_scores_decide_among_what_is_open(self, drawn):
        log = read_log(drawn, chosen=("route",))
        names = [option.route for option in log.options]
        worth = np.tile([{"north": 0.1, "harbor": 0.9, "summit": np.nan}[name] for name in names], (len(log), 1))
        target = by_scores(log, worth, standing(log, drawn))
        assert target.shares[:, names.index("harbor")].tolist() == [1.0] * len(log)

    def test_success_rates_are_of_outcomes_that_were_known_by_then(self):
        late = pd.Timestamp("2026-02-01", tz="UTC")
        table = attempts(400, resolved_at=late)
        log = read_log(table, chosen=("route",))
        target = by_policy(log, SuccessRate(explore=0.0), standing(log, table), None)
        # Nothing was known before February: the first option is taken all along
        assert (target.shares[:, 0] == 1.0).all()

    def test_success_rates_of_what_came_before_count(self, drawn):
        log = read_log(drawn, chosen=("route",))
        before, after = log.part(np.arange(len(log)) < 2000), log.part(np.arange(len(log)) >= 2000)
        target = by_policy(after, SuccessRate(explore=0.0), standing(after, drawn), None, before)
        assert after.options[int(target.shares[0].argmax())].route in {"north", "harbor"}

    def test_options_that_a_code_forbids_are_never_taken_on_a_retry(self):
        n = 60
        table = attempts(
            n, payment_id=[f"p{i // 2}" for i in range(n)], method=["card", "wallet"] * (n // 2),
            outcome=["bank_decline", "success"] * (n // 2), code_scheme="iso8583", response_code=["41", None] * (n // 2),
        )  # fmt: skip
        log = read_log(table, chosen=("method", "route"))
        found = standing(log, table)
        card = np.array([option.method == "card" for option in log.options])
        assert not (found.allowed & log.open)[1::2][:, card].any()
        assert found.allowed[0::2].all()
        sure = by_scores(log, np.where(card, 0.9, 0.1)[None, :].repeat(n, axis=0), found)
        assert (sure.shares[1::2][:, card] == 0.0).all()

    def test_as_logged_expects_what_the_model_does_of_what_was_done(self, drawn):
        log = read_log(drawn, chosen=("route",))
        of_options = np.random.default_rng(0).random(log.open.shape)
        assert logged(log).expects(log, of_options).tolist() == of_options[np.arange(len(log)), log.done].tolist()


class TestModelOfOptions:
    @pytest.mark.parametrize("with_past", [False, True])
    def test_of_what_was_done_it_says_what_a_score_says(self, trained, table, late, with_past):
        past = table.iloc[:-400] if with_past else None
        log = read_log(late)
        ordered = log.table
        told = option_success(trained.artefact, ordered, log.options, log.open, past)
        scores = score_table(trained.artefact, ordered, past)["p_success"].to_numpy()
        np.testing.assert_allclose(told[np.arange(len(log)), log.done], scores, rtol=1e-6)
        assert np.isnan(told[~log.open]).all()

    def test_after_its_training_the_model_s_own_past_counts(self, trained, late):
        after = late.assign(**{name: late[name] + pd.Timedelta(days=60) for name in ("created_at", "resolved_at")})
        log = read_log(after)
        told = option_success(trained.artefact, log.table, log.options, log.open)
        scores = score_table(trained.artefact, log.table)["p_success"].to_numpy()
        np.testing.assert_allclose(told[np.arange(len(log)), log.done], scores, rtol=1e-6)

    def test_an_attempt_s_own_outcome_changes_nothing_of_its_options(self, trained, late):
        log = read_log(late)
        last = log.table["created_at"].argmax()
        one = log.table.copy()
        one["outcome"] = one["outcome"].astype(object)
        one.loc[last, "outcome"] = "technical" if one.loc[last, "outcome"] == "success" else "success"
        wanted = np.zeros(log.open.shape, bool)
        wanted[last] = log.open[last]
        before = option_success(trained.artefact, log.table, log.options, wanted)[last]
        assert np.array_equal(before, option_success(trained.artefact, one, log.options, wanted)[last], equal_nan=True)

    def test_what_would_be_is_in_a_table_what_it_is_in_a_request(self):
        table = attempts(2, auth_flow=["challenge", "none"], auth_steps=[2, 0], stored=True, auth_exemption="low_value")
        for option in (OptionKey("wallet", "direct", "none"), OptionKey("card", "harbor", "challenge")):
            found = with_option(table, option)
            for place, attempt in enumerate(table.to_dict("records")):
                asked = what_if(attempt, dict(zip(ACTION, option, strict=True)), at=0)
                for name in (*MEANS, *OF_THE_METHOD):
                    told = found[name].iloc[place] if name in found else None
                    assert (None if pd.isna(told) else told) == asked.get(name), (option, name)

    def test_another_method_has_no_card_and_another_flow_no_known_steps(self):
        table = attempts(2, auth_flow=["challenge", "none"], auth_steps=[2, 0], stored=True)
        wallet = with_option(table, OptionKey("wallet", "direct", None))
        assert wallet[["card_brand", "stored", "auth_steps", "auth_flow"]].isna().all().all()
        card = with_option(table, OptionKey("card", "north", "challenge"))
        assert card["auth_steps"].isna().tolist() == [False, True]
        assert card["card_brand"].tolist() == table["card_brand"].tolist()
        assert table["auth_steps"].notna().all()


class TestSituations:
    def test_what_belongs_to_the_means_is_left_out_where_the_method_was_chosen(self):
        n = 400
        wallet = np.arange(n) % 2 == 0
        table = attempts(n, method=np.where(wallet, "wallet", "card"))
        table["card_brand"] = table["card_brand"].mask(wallet)
        by_route, _ = situations(read_log(table, chosen=("route",)))
        by_method, _ = situations(read_log(table, chosen=("method", "route")))
        # The hour is left of both; method and brand would tell which method was chosen
        assert (by_route.shape[1], by_method.shape[1]) == (3, 1)

    def test_what_is_expected_of_a_decision_was_not_learnt_from_its_payment(self):
        table = attempts(1200)
        log = read_log(table, chosen=("route",))
        matrix, coded = situations(log)
        flipped = dataclasses.replace(log, success=np.where(log.payment == 7, 1.0 - log.success, log.success))
        asked = log.payment == 7
        told = cross_fitted(matrix, coded, log, asked)
        assert told.tolist() == cross_fitted(matrix, coded, flipped, asked).tolist()


class TestBudget:
    SUCCESS = np.random.default_rng(4).uniform(0.1, 0.9, (500, 3))
    COST = SUCCESS * np.array([10.0, 3.0, 1.0]) + 0.2
    USABLE = np.ones((500, 3), bool)

    def spent(self, price):
        best = bargains(self.SUCCESS, self.COST, price).argmax(axis=1)
        return self.COST[np.arange(500), best].mean(), self.SUCCESS[np.arange(500), best].mean()

    @pytest.mark.parametrize("limit", [0.9, 1.5, 3.0])
    def test_the_average_fee_keeps_to_the_limit_and_comes_close_to_it(self, limit):
        fee, _ = self.spent(border(self.SUCCESS, self.COST, self.USABLE, fee=limit).price)
        assert limit - 0.05 <= fee <= limit

    def test_the_average_success_keeps_to_what_is_asked(self):
        price = border(self.SUCCESS, self.COST, self.USABLE, success_of=0.6).price
        assert 0.6 <= self.spent(price)[1] <= 0.61

    def test_where_choices_are_few_both_sides_of_the_limit_are_mixed_to_meet_it(self):
        success, cost = np.tile([0.2, 0.6], (100, 1)), np.tile([1.0, 3.0], (100, 1))
        usable = np.ones((100, 2), bool)
        for asked, fee in ({"fee": 1.5}, 1.5), ({"success_of": 0.5}, 2.5):
            met = border(success, cost, usable, **asked)
            spent = [cost[0, bargains(success, cost, price)[0].argmax()] for price in (met.price, met.other)]
            assert (1.0 - met.share) * spent[0] + met.share * spent[1] == pytest.approx(fee)

    def test_a_limit_that_nothing_reaches_costs_nothing(self):
        assert border(self.SUCCESS, self.COST, self.USABLE, fee=100.0) == (0.0, 0.0, 0.0)

    def test_limits_that_no_choice_keeps_are_refused_with_what_can_be_had(self):
        with pytest.raises(BadInput, match="or more: no choice costs less"):
            border(self.SUCCESS, self.COST, self.USABLE, fee=0.01)
        with pytest.raises(BadInput, match="or less: no choice succeeds more often"):
            border(self.SUCCESS, self.COST, self.USABLE, success_of=0.99)

    def test_bargains_are_what_the_policy_of_that_price_takes(self):
        fees = Fees("EUR", {"a": Fee(10.2, 0.2), "b": Fee(3.2, 0.2), "c": Fee(1.2, 0.2)})
        worth = bargains(self.SUCCESS, self.COST, 0.07)
        for row, best in zip(self.SUCCESS[:50], worth[:50].argmax(axis=1), strict=True):
            ways = [Way("option", "card", name, success=p) for name, p in zip("abc", row.tolist(), strict=True)]
            assert np.argmax(Budget(fees, 0.07).probabilities(Decision(ways))) == best


class TestEvaluation:
    def test_logged_is_worth_what_was_logged(self, found, drawn):
        late = drawn.iloc[-1200:]
        assert value(found, "logged") == pytest.approx((late["outcome"] == "success").mean())
        assert found["policies"]["logged"]["ess"] == found["decisions"] == 1200

    def test_always_one_route_is_worth_what_those_who_got_it_paid(self, found, drawn):
        late = drawn.iloc[-1200:]
        mine = late["route"] == "north"
        assert value(found, "always:route=north") == pytest.approx((late["outcome"][mine] == "success").mean())

    def test_greedy_finds_each_brand_its_route(self, found):
        best = (0.7 + 0.5) / 2
        estimate = found["policies"]["greedy"]["success"]["snips"]
        assert estimate["low"] <= best <= estimate["high"]
        assert estimate["value"] > value(found, "success_rate")

    def test_rules_go_on_with_what_was_meant_before_an_attempt(self, found):
        assert found["policies"]["rules"]["as_logged"] == 1.0
        assert value(found, "rules") == value(found, "logged")

    def test_a_budget_keeps_to_what_it_may_spend_and_earns_more_than_the_log(self, found):
        assert value(found, "budget:fee=1.2", "fee") == pytest.approx(1.2, abs=0.25)
        assert value(found, "budget:fee=1.2") > value(found, "logged")

    def test_a_budget_at_the_price_that_was_found_spends_no_more(self, found, drawn):
        told = found["policies"]["budget:fee=1.2"]
        name = f"budget:price={told['price']!r}"
        again = evaluate_policies(drawn, [name], LATE)["policies"][name]
        assert again["fee"]["snips"]["value"] <= told["fee"]["snips"]["value"]  # told mixes in what spends the rest
        assert "price" not in again

    def test_value_is_margin_less_fee(self, found):
        told = found["policies"]["always:route=harbor"]
        p = told["success"]["snips"]["value"]
        assert told["fee"]["snips"]["value"] == pytest.approx(4.0 * p + 2.0 * (1 - p))
        assert told["value"]["snips"]["value"] == pytest.approx(5.0 * p - told["fee"]["snips"]["value"])

    def test_it_is_refused_where_the_log_cannot_tell(self, drawn):
        found = evaluate_policies(drawn.iloc[:500], ["always:route=summit"], ROUTE)
        assert "are worth only" in found["policies"]["always:route=summit"]["refused"]
        assert "success" not in found["policies"]["always:route=summit"]

    def test_propensities_that_do_not_fit_the_options_are_warned_of(self, drawn):
        flows = drawn.assign(auth_flow=pd.Categorical(np.where(np.arange(len(drawn)) % 2, "challenge", "none")))
        assert "does --chosen" in evaluate_policies(flows, [], PolicyQuestion(resamples=50))["warnings"][0]
        assert evaluate_policies(flows, [], ROUTE)["warnings"] == []

    def test_history_is_learnt_from_and_not_judged(self, drawn):
        found = evaluate_policies(drawn.iloc[2000:], ["greedy"], ROUTE, past=drawn)
        assert (found["decisions"], found["earlier"]) == (1000, 2000)

    def test_without_anything_to_learn_from_greedy_is_refused(self, drawn):
        with pytest.raises(BadInput, match="0 earlier attempts to learn from; want 1,000 or more"):
            evaluate_policies(drawn, ["greedy"], ROUTE)

    @pytest.mark.parametrize("name", ["budget:fee=1", "budget:cost=1", "budget:fee=1,success=0.3", "budget"])
    def test_a_budget_needs_one_limit_and_fees(self, drawn, name):
        with pytest.raises(BadInput, match="policy: budget"):
            evaluate_policies(
                drawn, [name], PolicyQuestion(chosen=("route",), fees=None if name == "budget:fee=1" else FEES)
            )

    def test_amounts_in_another_currency_than_the_fees_are_refused(self, drawn):
        krw = Fees("KRW", FEES.fees)
        with pytest.raises(BadInput, match="currency 'EUR': want attempts in KRW alone"):
            evaluate_policies(drawn, [], PolicyQuestion(chosen=("route",), fees=krw))

    def test_a_share_to_judge_by_is_a_share(self):
        with pytest.raises(BadInput, match="--last: share '1': want a share between 0 and 1"):
            PolicyQuestion(last=1.0)

    def test_with_a_model_its_training_window_is_warned_of(self, trained, table):
        question = PolicyQuestion(chosen=("route", "auth_flow"), first=True, resamples=50)
        found = evaluate_policies(
            table.iloc[-2500:], ["explore:share=0.5"], question, past=table, artefact=trained.artefact
        )
        assert any("lie in the model's training window" in line for line in found["warnings"])
        assert "explore:share=0.5" in found["policies"]


class TestCommand:
    def run(self, *words):
        return CliRunner().invoke(payrescue.main, ["evaluate-policy", *map(str, words)])

    def test_the_table_has_a_line_for_each_policy_and_the_file_the_same_figures(self, drawn, tmp_path):
        data, output = tmp_path / "drawn.parquet", tmp_path / "out" / "found.json"
        drawn.to_parquet(data)
        done = self.run(
            "--data", data, "--policy", "always:route=harbor", "--policy", "always:route=summit", "--chosen", "route",
            "--last", "0.3", "--output", output,
        )  # fmt: skip
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert lines[0].startswith("900 decisions of 900 payments, logged by drawn, which chose route")
        told = json.loads(output.read_text())
        snips = told["policies"]["always:route=harbor"]["success"]["snips"]
        assert any(line.startswith("always:route=harbor") and f"{snips['value']:.3f} [" in line for line in lines)
        assert any(line.startswith("always:route=summit") and "no estimate: 900 decisions" in line for line in lines)

    def test_a_policy_that_there_is_not_ends_with_one_line_and_2(self, drawn, tmp_path):
        drawn.iloc[:50].to_parquet(tmp_path / "drawn.parquet")
        done = self.run("--data", tmp_path / "drawn.parquet", "--policy", "best")
        assert done.exit_code == 2
        assert done.stderr.splitlines()[-1].startswith(
            "payrescue: policy: name 'best': want one of rules, success_rate"
        )


@pytest.mark.skipif(not SHOP.is_file(), reason="the shop's attempts may not ship; they are not beside this checkout")
def test_the_shop_s_processors_are_worth_what_those_who_got_them_paid_and_logged_what_was_logged():
    table = read_attempts(SHOP, ROOT / "examples" / "shop_attempts.yaml", now=NOW)
    late = table[table["created_at"] >= pd.Timestamp("2019-01-23", tz="UTC")]
    names = ("Goldcard", "Moneycard", "UK_Card", "Simplecard")
    question = PolicyQuestion(chosen=("route",), resamples=200)
    found = evaluate_policies(late, [f"always:route={name}" for name in names], question)
    paid = (late["outcome"] == "success").to_numpy()
    assert value(found, "logged", estimator="ips") == pytest.approx(paid.mean())
    for name in names:
        mine = paid[(late["route"] == name).to_numpy()]
        off = 1.96 * np.sqrt(mine.mean() * (1 - mine.mean()) / len(mine))
        assert abs(value(found, f"always:route={name}") - mine.mean()) <= off
        assert abs(value(found, f"always:route={name}", estimator="dr") - mine.mean()) <= off

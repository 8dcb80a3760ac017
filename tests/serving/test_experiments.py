"""Which payment is in which arm: as the file says, evenly, independently, and so that anybody can work it out."""

import hashlib
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from features.errors import BadInput, CardNumberFound
from serving.experiments import Arm, Experiment, place, read_experiments

PAYMENTS = [f"p{i}" for i in range(20_000)]


@pytest.fixture
def read(tmp_path):
    def _read(text):
        (tmp_path / "e.yaml").write_text(textwrap.dedent(text))
        return read_experiments(tmp_path / "e.yaml")

    return _read


def one(mode, *arms, more=""):
    return f"experiments: [{{name: e, mode: {mode}, arms: [{', '.join(arms)}]{more}}}]"


A, B = "{name: a, share: 0.5}", "{name: b, share: 0.5, model: 'models:/payrescue@challenger'}"


class TestAssignment:
    def test_a_place_is_what_the_documentation_says(self):
        digits = hashlib.sha256(b"march:p1").hexdigest()[:13]
        assert place("march", "p1") == int(digits, 16) / 16**13

    @given(st.text(max_size=30), st.text(max_size=30))
    def test_a_place_is_from_0_to_below_1_and_always_the_same(self, salt, payment):
        assert 0.0 <= place(salt, payment) < 1.0
        assert place(salt, payment) == place(salt, payment)

    def test_places_are_uniform(self):
        counts = np.histogram([place("march", payment) for payment in PAYMENTS], bins=50, range=(0.0, 1.0))[0]
        expected = len(PAYMENTS) / 50
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 49)

    def test_arms_have_their_shares(self):
        arms = (Arm("a", 0.5), Arm("b", 0.3), Arm("c", 0.1))
        experiment = Experiment("e", "ab", "march", arms)
        told = [experiment.arm_of(payment) for payment in PAYMENTS]
        counts = np.array([sum(arm is wanted for arm in told) for wanted in (*arms, None)])
        expected = np.array([0.5, 0.3, 0.1, 0.1]) * len(PAYMENTS)
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 3)

    def test_experiments_with_other_salts_share_out_independently(self):
        arms = (Arm("a", 0.5), Arm("b", 0.5))
        first, second = Experiment("e", "ab", "march", arms), Experiment("f", "ab", "april", arms)
        table = np.zeros((2, 2))
        for payment in PAYMENTS:
            table[arms.index(first.arm_of(payment)), arms.index(second.arm_of(payment))] += 1
        assert chi2_contingency(table).pvalue > 0.001

    @given(st.integers(2, 30), st.text(max_size=20))
    def test_shares_that_add_up_to_one_leave_nobody_out(self, arms, payment):
        experiment = Experiment("e", "ab", "s", tuple(Arm(f"a{i}", 1 / arms) for i in range(arms)))
        assert experiment.takes_all
        assert experiment.arm_of(payment) is not None

    def test_a_larger_share_keeps_the_payments_of_a_smaller_one(self):
        small, large = (Experiment("e", "shadow", "s", (Arm("a", share, policy="rules"),)) for share in (0.1, 0.4))
        assert {p for p in PAYMENTS if small.shadows_of(p)} < {p for p in PAYMENTS if large.shadows_of(p)}


class TestFile:
    def test_what_the_file_says_is_read(self, read):
        (experiment,) = read(
            """
            experiments:
              - name: fewer_challenges
                mode: ab
                salt: march
                arms:
                  - {name: control, share: 0.5}
                  - {name: challenger, share: 0.4, model: "models:/payrescue@challenger", policy: "explore:share=0.02"}
            """
        )
        assert (experiment.name, experiment.mode, experiment.salt) == ("fewer_challenges", "ab", "march")
        assert experiment.arms[1] == Arm("challenger", 0.4, "models:/payrescue@challenger", "explore:share=0.02")
        assert experiment.models == {"models:/payrescue@challenger"}
        assert not experiment.takes_all

    def test_the_salt_is_the_name_where_none_is_told(self, read):
        assert read(one("ab", A, B))[0].salt == "e"

    def test_a_canary_leaves_the_others_to_its_control(self, read):
        (experiment,) = read(one("canary", "{name: new, share: 0.05, model: 'models:/payrescue/7'}"))
        assert [(arm.name, arm.share, arm.model) for arm in experiment.arms] == [
            ("new", 0.05, "models:/payrescue/7"),
            ("control", 0.95, None),
        ]
        assert experiment.takes_all

    def test_a_shadow_scores_every_payment_where_no_share_is_told(self, read):
        (experiment,) = read(one("shadow", "{name: new, model: 'models:/payrescue@challenger'}"))
        assert experiment.shadows_of("anybody")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[", "is no YAML"),
            ("- 1", "want a list under `experiments`"),
            ("experiments: {}", "want a list under `experiments`"),
            ("experiments: []\nmore: 1", "want a list under `experiments`"),
            ("experiments: [3]", r"experiments\[0\] '3': want {name, mode, salt, arms}"),
            ("experiments: [{name: e, mode: ab, arm: []}]", r"experiments\[0\].arm: want one of name, mode"),
            (one("test", A, B), "e.mode 'test': want ab, canary, shadow"),
            (one("ab", A), "two or more whose shares sum to at most 1"),
            (one("ab", A, A), "names that differ"),
            (one("ab", A, B, "{name: c, share: 0.1}"), "two or more whose shares sum to at most 1"),
            (one("ab", A, "{name: b}"), r"arms\[1\].share 'None': want a share above 0"),
            (one("ab", A, "{name: b, share: yes}"), "a share above 0"),
            (one("ab", A, "{name: b, share: 0.1, model: payrescue}"), "model 'payrescue': want models:/NAME@ALIAS"),
            (one("ab", A, "{name: b, share: 0.1, policy: daring}"), "policy 'daring': want one of rules"),
            (one("ab", A, "{name: 'b c', share: 0.1}"), "letters, digits"),
            (one("ab", A, "{name: b, share: 0.1, modell: x}"), "modell: want one of name, share, model, policy"),
            (one("canary", A), "e.a: want a model or a policy"),
            (one("canary", "{name: a, share: 0.6, policy: rules}"), "at most 0.5"),
            (one("canary", "{name: control, share: 0.1, policy: rules}"), "not named control"),
            (one("shadow", "{name: a}"), "e.a: want a model or a policy"),
            (one("ab", A, B, more=", salt: ''"), "salt '': want text"),
            (f"experiments: [{one('ab', A, B)[14:-1]}, {one('ab', A, B)[14:-1]}]", "experiments.name 'e': want each once"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_refused_by_its_place(self, read, text, told):
        with pytest.raises(BadInput, match=told):
            read(text)

    def test_two_of_one_salt_would_share_out_alike(self, read):
        text = """
            experiments:
              - {name: e, mode: ab, salt: s, arms: [{name: a, share: 0.1}, {name: b, share: 0.1}]}
              - {name: f, mode: ab, salt: s, arms: [{name: a, share: 0.1}, {name: b, share: 0.1}]}
            """
        with pytest.raises(BadInput, match=r"experiments\.salt 's': want each once"):
            read(text)

    def test_an_experiment_that_no_payment_reaches_is_refused(self, read):
        text = """
            experiments:
              - {name: all, mode: canary, arms: [{name: a, share: 0.1, policy: rules}]}
              - {name: none, mode: ab, arms: [{name: a, share: 0.1}, {name: b, share: 0.1}]}
            """
        with pytest.raises(BadInput, match="none: want a place before an experiment that takes every payment"):
            read(text)

    def test_a_card_number_is_refused_unrepeated(self, read):
        with pytest.raises(CardNumberFound) as told:
            read("experiments: [{name: e, salt: '4111111111111111'}]")
        assert "4111" not in str(told.value)

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            read_experiments(tmp_path / "none.yaml")

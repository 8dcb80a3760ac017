"""Who is champion: moved under a lock, written down, and taken back step by step."""

import json
import os
import socket
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import payrescue
from features.errors import BadInput, CardNumberFound
from training import promotion, tracking
from training.gate import Verdict
from training.promotion import Move, before, locked, moves

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An MLflow store of its own."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        tracking.store()
        yield folder


@pytest.fixture
def registry(made, request):
    """A registered model of three versions, and the client; its name is the test's."""
    import mlflow

    client, name = mlflow.MlflowClient(), request.node.name.replace("/", "").replace(":", "")
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, source=str(made), run_id=None)
    return client, name


def champion(registry):
    client, name = registry
    return str(client.get_registered_model(name).aliases["champion"])


def test_a_promotion_writes_down_old_new_time_and_reason(registry):
    client, name = registry
    promotion.promote(name, "1", "the first")
    move = promotion.promote(name, "3", "better on March")
    assert (move.old, move.new, move.by, move.reason) == ("1", "3", "promote", "better on March")
    assert moves(client.get_registered_model(name))[-1] == move
    tags = client.get_model_version(name, "3").tags
    assert (tags["champion_from"], tags["champion_reason"], tags["champion_since"]) == ("1", "better on March", move.at)
    assert tags["champion_who"] == move.who
    assert champion(registry) == "3"


def test_the_challenger_is_promoted_where_no_version_is_named(registry):
    client, name = registry
    with pytest.raises(BadInput, match="--version: want one of 1, 2, 3; there is no challenger"):
        promotion.promote(name, None, "")
    client.set_registered_model_alias(name, "challenger", "2")
    assert promotion.promote(name, None, "").new == "2"


def test_every_move_says_who_made_it(registry, monkeypatch):
    _, name = registry
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    promotion.promote(name, "1", "the first")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setattr(promotion.getpass, "getuser", raise_no_name)
    promotion.promote(name, "2", "better")
    first, second = (move.who for move in promotion.history(name))
    assert first == f"ana@{socket.gethostname()}"
    assert second == f"user {os.getuid()}@{socket.gethostname()}"


def raise_no_name():
    raise KeyError("uid")


def test_the_history_is_told_as_a_table_and_as_json(registry):
    _, name = registry
    assert f"{name} has had no champion yet" in told("champions", "--name", name)
    promotion.promote(name, "1", "the first")
    promotion.promote(name, "2", "better on March")
    assert told("champions", "--name", name).splitlines()[-1].endswith("promote        1     2  better on March")
    assert [move["new"] for move in json.loads(told("champions", "--name", name, "--json"))] == ["1", "2"]


def told(*words):
    done = CliRunner().invoke(payrescue.main, list(words))
    assert done.exit_code == 0
    return done.stdout


def test_a_move_that_an_older_version_wrote_down_is_read(registry):
    client, name = registry
    client.set_registered_model_tag(
        name,
        "champion.0001",
        '{"old": null, "new": "1", "by": "train", "reason": "", "at": "2026-01-05T00:00:00+00:00"}',
    )
    assert promotion.history(name) == [Move(None, "1", "train", "", "2026-01-05T00:00:00+00:00")]


def test_promoting_the_champion_changes_nothing(registry):
    client, name = registry
    promotion.promote(name, "2", "")
    assert promotion.promote(name, "2", "") is None
    assert len(moves(client.get_registered_model(name))) == 1


@pytest.mark.parametrize("version", ["9", "0", "two", ""])
def test_a_version_that_is_not_there_is_refused_with_those_that_are(registry, version):
    with pytest.raises(BadInput, match=f"--version '{version}': want one of 1, 2, 3"):
        promotion.promote(registry[1], version, "")


def test_a_model_that_is_not_there_is_refused(made):
    with pytest.raises(BadInput, match="the registry has no model 'nobody'"):
        promotion.promote("nobody", "1", "")
    with pytest.raises(BadInput, match="the registry has no model 'nobody'"):
        promotion.rollback("nobody", "")


def test_a_version_that_does_not_pass_the_check_does_not_become_champion(registry):
    _, name = registry
    promotion.promote(name, "1", "")

    def check(version):
        raise BadInput("champion", message=f"version {version} cannot be served")

    with pytest.raises(BadInput, match="version 2 cannot be served"):
        promotion.promote(name, "2", "", check=check)
    assert champion(registry) == "1"


def test_each_rollback_goes_one_further_back_and_the_last_says_that_it_is(registry):
    _, name = registry
    for version in "123":
        promotion.promote(name, version, "")
    assert [promotion.rollback(name, "bad").new for _ in range(2)] == ["2", "1"]
    with pytest.raises(BadInput, match=r"no version was champion before version 1; .* one of 1, 2, 3"):
        promotion.rollback(name, "bad")
    assert champion(registry) == "1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("promote", "--version", "9"), "promote: --version '9': want one of 1, 2, 3"),
        (("promote",), "there is no challenger"),
        (("promote", "--version", "2"), "version 2 cannot be served: "),
        (("rollback",), "has no champion; `payrescue promote --version N` makes one"),
    ],
)
def test_the_commands_end_with_one_line_and_exit_code_2(registry, words, told):
    done = CliRunner().invoke(payrescue.main, [*words, "--name", registry[1]])
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "champion" not in registry[0].get_registered_model(registry[1]).aliases


def test_a_rollback_without_a_champion_is_refused(registry):
    with pytest.raises(BadInput, match="has no champion"):
        promotion.rollback(registry[1], "")


def test_a_rollback_passes_over_a_version_that_is_gone(registry):
    client, name = registry
    for version in "123":
        promotion.promote(name, version, "")
    client.delete_model_version(name, "2")
    assert promotion.rollback(name, "").new == "1"


def test_a_champion_that_somebody_else_s_tool_set_counts_as_what_was_before(registry):
    client, name = registry
    promotion.promote(name, "1", "")
    client.set_registered_model_alias(name, "champion", "2")
    promotion.promote(name, "3", "")
    assert [promotion.rollback(name, "").new for _ in range(2)] == ["2", "1"]


def test_a_training_does_not_replace_a_champion_that_it_was_not_compared_with(registry):
    _, name = registry
    promotion.promote(name, "2", "meanwhile")
    verdict = tracking.promote(name, "3", Verdict(True, "better", {}), against="1")
    assert not verdict.promote
    assert "version 2 has become champion meanwhile" in verdict.why
    assert champion(registry) == "2"
    assert tracking.promote(name, "3", Verdict(True, "better", {}), against="2").promote
    assert champion(registry) == "3"


def test_a_card_number_is_no_reason(registry):
    with pytest.raises(CardNumberFound) as told:
        promotion.promote(registry[1], "1", "customer 4111 1111 1111 1111 complained")
    assert "4111" not in str(told.value)


def test_two_at_once_each_see_what_the_other_did(registry):
    client, name = registry
    promotion.promote(name, "1", "")
    threads = [threading.Thread(target=promotion.promote, args=(name, version, "")) for version in "2323"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = moves(client.get_registered_model(name))
    assert [move.old for move in told] == [None, *(move.new for move in told[:-1])]
    assert champion(registry) == told[-1].new


@pytest.mark.parametrize("store", ["sqlite:///{}/held.db", "http://user:secret@nowhere.invalid"])
def test_a_lock_that_somebody_holds_is_waited_for_and_told(tmp_path, store):
    (tmp_path / "held.db").touch()
    store = store.format(tmp_path)
    with locked(store), pytest.raises(BadInput, match="somebody else has been moving it") as told, locked(store, 0.1):
        pass
    assert "secret" not in str(told.value)
    with locked(store, 0.1):
        pass


@given(st.lists(st.sampled_from(["promote 1", "promote 2", "promote 3", "rollback"]), max_size=12))
def test_rolling_back_ends_and_returns_to_nothing_that_it_left(steps):
    told, champion_ = [], None

    def move(new, by):
        told.append(Move(champion_, new, by, "", ""))
        return new

    for step in steps:
        word, _, version = step.partition(" ")
        if word == "promote" and version != champion_:
            champion_ = move(version, "promote")
        elif word == "rollback" and champion_ is not None and (earlier := before(told, champion_)):
            champion_ = move(earlier[-1], "rollback")
    left = []
    while champion_ is not None and (earlier := before(told, champion_)):
        left.append(champion_)
        champion_ = move(earlier[-1], "rollback")
        assert champion_ not in left


def test_a_move_survives_its_tag():
    move = Move("1", "2", "rollback", "Zürich 서울", "2026-01-05T09:30:00+00:00")
    assert Move(**json.loads(json.dumps(vars(move)))) == move
    assert str(move) == "champion: version 1 → 2 (Zürich 서울)"

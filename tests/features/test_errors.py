import pytest

from features.errors import BadInput, Fault

CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize("fault", [Fault("name", "a name", seen=CARD), Fault(f"policy {CARD}", "a policy")])
def test_a_card_number_typed_where_a_name_was_wanted_is_not_repeated(fault):
    told = str(BadInput("options", [fault]))
    assert "1111" not in told
    assert "(a card number)" in told


def test_what_else_was_seen_is_repeated():
    assert (
        str(Fault("name", "a name", seen="4111 1111 1111 1112", row=3))
        == "row 3, name '4111 1111 1111 1112': want a name"
    )

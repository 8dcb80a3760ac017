import pytest

from features.errors import BadInput
from training.settings import TrainSettings


@pytest.mark.parametrize("name", ["experiment", "model_name"])
def test_a_card_number_as_a_name_is_refused_before_it_reaches_the_store(name):
    with pytest.raises(BadInput, match=name) as refused:
        TrainSettings(**{name: "4111 1111 1111 1111"})
    assert "1111" not in str(refused.value)

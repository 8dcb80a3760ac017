import subprocess
import sys

import pytest

from features.columns import OUTCOMES
from features.taxonomy import reasons
from models.nothing import of_nothing

ATTEMPT = {"created_at": 1, "amount_minor": 1, "currency": "EUR", "country": "DE", "method": "card"}

COMPILED = """
import sys
from pathlib import Path
import numpy as np
import features.kernel, models.kernel, models.questions
from models.nothing import of_nothing
from models.predictor import Predictor

def compiled():
    modules = (features.kernel, models.kernel, models.questions)
    return {
        f"{module.__name__}.{name}": len(one.signatures)
        for module in modules for name, one in vars(module).items() if getattr(one, "signatures", None)
    }

of_nothing()
ready = compiled()
predictor = Predictor.load(Path(sys.argv[1]))
ended = {"created_at": 5, "resolved_at": 9, "outcome": "bank_decline", "amount_minor": 1, "currency": "EUR", "country": "DE"}
rows = predictor.encoder.from_ended([{**ended, "method": "card"}] * 3)
predictor.history.enter(rows, np.arange(1, 3), predictor.history.keys_of(rows))
wanted = {"features.kernel.ask", "features.kernel.gathered", "models.kernel.classes", "models.kernel.outcomes"}
assert wanted | {"models.kernel.put_back", "models.kernel.still_counting", "features.kernel.record_all"} <= ready.keys(), ready
print({name for name, many in compiled().items() if ready.get(name) != many} or "nothing more")
"""


def test_whoever_knows_nothing_takes_all_to_be_alike():
    predictor = of_nothing()
    assert sum(predictor.outcome(ATTEMPT, [])) == pytest.approx(1.0)
    assert len(predictor.outcome(ATTEMPT, [])) == len(OUTCOMES)
    first, second = predictor.candidate_success(ATTEMPT, [], [{"method": "card"}, {"method": "wallet"}])
    assert first == second
    assert sum(predictor.reasons(ATTEMPT, [], {}).values()) == pytest.approx(1.0)
    assert not predictor.reasons(ATTEMPT, [], {}).keys() & reasons().keys()


def test_a_first_model_finds_everything_compiled(folder):
    done = subprocess.run([sys.executable, "-c", COMPILED, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "nothing more"

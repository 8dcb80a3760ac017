import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from features import fingerprint as module
from features import kernel
from features.definitions import KEYS, features

anew = module.fingerprint.__wrapped__  # past its cache


def test_it_is_the_same_each_time():
    assert anew() == anew() == module.fingerprint()


def test_it_says_which_hash_it_is():
    kind, digits = anew().split(":")
    assert kind == "sha256"
    assert len(digits) == 64
    int(digits, 16)


def test_it_is_the_same_in_another_process():
    code = "from features.fingerprint import fingerprint; print(fingerprint())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == anew()


@pytest.mark.parametrize("change", [{"name": "x"}, {"unit": "ms"}, {"categories": "route"}])
def test_it_changes_with_what_a_feature_is(monkeypatch, change):
    was = anew()
    first, *rest = features()
    monkeypatch.setattr(module, "features", lambda: (replace(first, **change), *rest))
    assert anew() != was


def test_it_changes_with_the_order_of_the_features(monkeypatch):
    was = anew()
    first, second, *rest = features()
    monkeypatch.setattr(module, "features", lambda: (second, first, *rest))
    assert anew() != was


def test_it_changes_with_what_the_past_is_counted_by(monkeypatch):
    was = anew()
    monkeypatch.setattr(module, "KEYS", (*KEYS[:-1], replace(KEYS[-1], parts=("country", "method"))))
    assert anew() != was


def test_it_changes_with_what_the_diagnosis_reads(monkeypatch):
    was = anew()
    monkeypatch.setattr(module, "EVIDENCE_CODES", ("response_code",))
    assert anew() != was


def test_it_changes_with_the_arithmetic_of_any_feature(monkeypatch):
    was, run = anew(), kernel.sweep
    for column in range(kernel.N_FEATURES):

        def sweep(*arrays, column=column):
            entered = run(*arrays)
            arrays[-1][:, column] *= np.float32(1.01)
            return entered

        monkeypatch.setattr(kernel, "sweep", sweep)
        assert anew() != was, f"column {column} is missing, or nothing, in every golden row"


def test_it_does_not_change_with_how_a_feature_is_put_into_words(monkeypatch):
    was = anew()
    first, *rest = features()
    monkeypatch.setattr(module, "features", lambda: (replace(first, label="how much", group="history"), *rest))
    assert anew() == was


def test_the_golden_rows_are_always_the_same():
    (rows, keys), (again, keys_again) = module.golden_rows(), module.golden_rows()
    np.testing.assert_array_equal(keys, keys_again)
    for one, other in zip(rows.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one, other)

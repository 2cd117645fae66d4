import numpy as np
import pytest

from vcpipe.f0.classes import class_to_f0, f0_to_class, f0_to_coarse


def test_coarse_bins_are_those_of_grad_svc():
    assert f0_to_coarse(np.array([100, 220, 440, 880, 1000])).tolist() == [20, 60, 122, 217, 238]


def test_coarse_bins_have_two_ends_and_no_zero():
    assert f0_to_coarse(np.array([0, 20, 50, 1100, 5000])).tolist() == [1, 1, 1, 255, 255]


def test_classes_are_quarters_of_a_semitone_above_ten_hertz():
    assert f0_to_class(np.array([0, 5, 10, 20, 40, 440])).tolist() == [0, 0, 0, 48, 96, 262]
    assert f0_to_class(np.array([16000, 99999])).tolist() == [511, 511]
    assert class_to_f0(np.array([511]))[0] == pytest.approx(16025, abs=5)  # the sheet: about 16.0 kHz


def test_a_class_and_its_frequency_belong_together():
    classes = np.arange(512)
    assert (f0_to_class(class_to_f0(classes)) == classes).all()
    assert class_to_f0(classes)[:2].tolist() == [0.0, pytest.approx(10 * 2 ** (1 / 48))]


def test_the_way_there_and_back_is_within_half_a_class():
    f0 = np.geomspace(50, 1100, 500)
    cents = 1200 * np.log2(class_to_f0(f0_to_class(f0)) / f0)
    assert np.abs(cents).max() <= 12.5 + 1e-3

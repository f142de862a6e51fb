"""`dpsgd`: clipping, noise, Poisson batches and ε, each against what is known of it from outside."""

import pickle

import pytest
import torch
from opacus import PrivacyEngine
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier
from torch import nn
from torch.nn import functional

from safedeploy.errors import UserError
from safedeploy.methods.defences import dpsgd
from safedeploy.methods.registry import DEFENCES, METHODS, make_method
from safedeploy.recipe import MethodRecipe
from safedeploy.training.device import make_accelerator
from safedeploy.training.loop import Training, train


def made(toy, method="dense", beside=(), context=None, **options):
    density = 1.0 if method == "dense" else 0.2
    often = {"interval": 5, "gradient_steps": 2} if method in ("set", "rigl") else {}
    defences = {**{name: {} for name in beside}, "dpsgd": {"accountant": "rdp", **options}}
    return make_method(
        MethodRecipe(name=method, density=density, options=often, defences=defences), context or toy.context(density)
    )


def noiseless(toy, clip=1e9):
    """As options cannot have it: without noise there is no guarantee."""
    return dpsgd.DpSgd(
        dpsgd.DpSgdOptions.model_construct(
            epsilon=None, noise_multiplier=1e-30, delta=None, clip=clip, accountant="rdp"
        ),
        toy.context(),
    )


def under_way(toy, hooks, module=None, recipe=None, members=100):
    x, y = toy.tensors(toy.samples(members, 0))
    module = (module or network()).train()
    accelerator = make_accelerator("cpu", "float32")
    return Training(module, x, y, recipe or toy.recipe, 0, accelerator, hooks, lambda event: None)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))


def run(training):
    train(training, after_epoch=Training.require_finite)
    return training


def test_clipping_on_a_case_worked_by_hand():
    """Two weights, two samples: (3, 4) of norm 5 becomes (.6, .8), (.3, .4) of norm .5 stays."""
    samples = [torch.tensor([[3.0], [0.3]]), torch.tensor([[[4.0]], [[0.4]]])]
    first, second = dpsgd.clipped_sums(samples, 1.0)
    torch.testing.assert_close(first, torch.tensor([0.9]))
    torch.testing.assert_close(second, torch.tensor([[1.2]]))


def test_without_noise_and_with_a_wide_clip_it_is_sgd_on_the_same_batches(toy):
    """Summed cross-entropy over the expected batch size, on the Poisson batches."""
    hooks = noiseless(toy)
    training = run(under_way(toy, hooks))
    plain = network()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for step in range(training.total_steps):
        chosen = hooks.choose(step, training)
        loss = functional.cross_entropy(plain(training.x[chosen]), training.y[chosen], reduction="sum") / 20
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for ours, theirs in zip(training.module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [0.1, 1.0])
def test_a_step_is_that_of_opacus_own_optimizer(toy, clip):
    """Gradients of one batch, clipped without noise, against `PrivacyEngine.make_private`."""
    hooks = noiseless(toy, clip)
    training = under_way(toy, hooks)
    hooks.attach(training)
    x, y = training.batch(0)
    hooks.loss(training.module(x), y, training).backward()
    hooks.after_backward(training)
    theirs = network()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=len(y))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    wrapped, optimizer, _ = PrivacyEngine().make_private(
        module=theirs,
        optimizer=optimizer,
        data_loader=data,
        noise_multiplier=0.0,
        max_grad_norm=clip,
        poisson_sampling=False,
    )
    functional.cross_entropy(wrapped(x), y).backward()
    optimizer.pre_step()
    for ours, other in zip(training.module.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, other.grad * len(y) / 20, rtol=1e-4, atol=1e-6)


def test_the_noise_has_the_deviation_of_the_multiplier_and_differs_by_step_and_seed(toy):
    def noise(step, seed=0):
        hooks = made(toy, noise_multiplier=2.0, clip=0.5, context=toy.context(1.0, seed)).parts["dpsgd"]
        training = under_way(toy, hooks)
        training.step = step
        for weight in training.module.parameters():
            weight.grad_sample = torch.zeros(3, *weight.shape)
        hooks.after_backward(training)
        return torch.cat([weight.grad.flatten() for weight in training.module.parameters()])

    first = noise(0)
    assert float(first.std()) == pytest.approx(2.0 * 0.5 / 20, rel=0.1)
    assert torch.equal(first, noise(0))
    assert not torch.equal(first, noise(1))
    assert not torch.equal(first, noise(0, seed=1))


def test_each_member_is_drawn_with_the_rate_and_by_itself(toy):
    hooks = noiseless(toy)
    training = under_way(toy, hooks)
    drawn = torch.zeros(2000, 100)
    for step in range(2000):
        assert torch.equal(hooks.choose(step, training), hooks.choose(step, training))
        drawn[step, hooks.choose(step, training)] = 1
    sizes = drawn.sum(1)
    assert float(sizes.mean()) == pytest.approx(20, abs=0.5)
    assert float(sizes.var()) == pytest.approx(100 * 0.2 * 0.8, rel=0.15)  # binomial: a shuffled batch has none
    assert drawn.mean(0).min() > 0.15
    assert drawn.mean(0).max() < 0.25


def test_a_step_for_which_nobody_was_drawn_is_noise_alone(toy):
    """10 members, batches of 2 on average: one step in ten has none."""
    recipe = toy.recipe.model_copy(update={"batch_size": 2, "weight_decay": 0.0, "momentum": 0.0, "epochs": 40})
    hooks = noiseless(toy)
    training = under_way(toy, hooks, recipe=recipe, members=10)
    hooks.attach(training)
    empty = [step for step in range(200) if not len(hooks._poisson(step, training))]
    assert 10 < len(empty) < 40
    before = [weight.detach().clone() for weight in training.module.parameters()]
    training.step = empty[0]
    training.one_step()
    for earlier, now in zip(before, training.module.parameters(), strict=True):
        torch.testing.assert_close(now, earlier, rtol=0, atol=1e-12)
    run(under_way(toy, made(toy, noise_multiplier=1.0), recipe=recipe, members=10))


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_the_epsilon_is_that_of_opacus_accountant_for_the_steps_done(toy, accountant):
    training = run(under_way(toy, made(toy, noise_multiplier=1.3, accountant=accountant)))
    found = training.hooks.guarantee(training)
    counted = create_accountant(accountant)
    for _ in range(30):
        counted.step(noise_multiplier=1.3, sample_rate=0.2)
    assert found.epsilon == counted.get_epsilon(delta=1e-3)
    assert (found.delta, found.noise_multiplier, found.clip) == (1e-3, 1.3, 1.0)


def test_the_noise_that_is_found_keeps_the_training_within_epsilon(toy):
    training = run(under_way(toy, made(toy, epsilon=3.0)))
    found = training.hooks.guarantee(training)
    wanted = get_noise_multiplier(target_epsilon=3.0, target_delta=1e-3, sample_rate=0.2, steps=30, accountant="rdp")
    assert found.noise_multiplier == pytest.approx(wanted, rel=1e-3)
    assert 2.97 <= found.epsilon <= 3.0


def test_a_training_that_ends_early_spends_less(toy, tmp_path):
    whole = made(toy, epsilon=3.0)
    early = make_method(
        MethodRecipe(
            name="dense",
            density=1.0,
            defences={"early-stop": {"epochs": 2}, "dpsgd": {"epsilon": 3.0, "accountant": "rdp"}},
        ),
        toy.context(1.0),
    )
    runs = [toy.train(tmp_path / name, hooks) for name, hooks in (("whole", whole), ("early", early))]
    spent = [one.training.hooks.guarantee(one.training).epsilon for one in runs]
    assert runs[1].training.step == 20
    assert spent[1] < 0.8 * spent[0] <= 2.4


@pytest.mark.parametrize(("members", "delta"), [(999, 1e-3), (1000, 1e-4), (1600, 1e-4), (60000, 1e-5)])
def test_delta_is_the_power_of_ten_below_one_over_the_members(members, delta):
    assert dpsgd.delta_for(members) == delta < 1 / members


def test_what_is_left_is_the_module_itself(toy, tmp_path):
    trained = toy.train(tmp_path, made(toy, "rigl", noise_multiplier=1.0))
    plain = toy.network()
    assert type(trained.module) is type(plain)
    assert list(trained.weights) == list(plain.state_dict())
    assert trained.module.__dict__.keys() == plain.__dict__.keys()
    for layer in trained.module.modules():
        assert not layer._forward_hooks
        assert not layer._backward_hooks
    assert not any(hasattr(weight, "grad_sample") for weight in trained.module.parameters())
    torch.export.export(trained.module.eval(), (torch.zeros(2, 10),))


def test_gradient_growth_sees_noisy_gradients_alone(toy, tmp_path):
    """With nothing but noise in the gradients, what `rigl` sums has its deviation, σ · clip / batch · √steps."""
    hooks = made(toy, "rigl", noise_multiplier=1000.0)
    assert next(iter(hooks.parts)) == "dpsgd"
    summed = []
    rigl = hooks.parts["rigl"]
    change = rigl.change

    def look(training, gradients):
        summed.append(torch.cat([gradient.flatten() for gradient in gradients.values()]))
        change(training, gradients)

    rigl.change = look
    toy.train(tmp_path, hooks)
    assert float(summed[0].std()) == pytest.approx(1000 / 20 * 2**0.5, rel=0.1)


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.private])
def test_methods_that_see_gradients_alone_train_beside_it(toy, tmp_path, method):
    trained = toy.train(tmp_path, made(toy, method, beside=["label-smoothing"], noise_multiplier=1.0))
    for name, mask in trained.masks.items():
        assert (trained.weights[name][~mask] == 0).all()


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if not entry.private])
def test_methods_that_look_at_members_otherwise_are_refused(toy, method):
    with pytest.raises(
        UserError, match=rf"^--method {method} does more with members than --defence dpsgd can .*magnitude"
    ):
        made(toy, method, noise_multiplier=1.0)


@pytest.mark.parametrize("name", [name for name, one in DEFENCES.items() if not one.private and name != "dpsgd"])
def test_defences_that_look_at_members_otherwise_are_refused(toy, name):
    with pytest.raises(UserError, match=rf"^--defence {name} does more with members .*: leave out one of them$"):
        made(toy, beside=[name], noise_multiplier=1.0)


def test_those_that_are_known_to_look_at_members_are_not_private():
    """They test on members, play against an attacker who is shown them, teach by others, or weigh them by the batch."""
    looking = {"safecompress", "mcmia", "adv-reg", "crossfit", "distill", "relaxloss", "ppb", "hamp"}
    assert not [name for name, entry in {**METHODS, **DEFENCES}.items() if entry.private and name in looking]


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        (
            [nn.Linear(10, 4), nn.BatchNorm1d(4)],
            "layer '1' is a BatchNorm1d, which mixes the samples of a batch: choose",
        ),
        ([nn.LSTM(10, 4)], r"layer '0' \(LSTM\) is not known to Opacus"),
    ],
)
def test_a_layer_that_mixes_samples_is_refused_by_its_name(toy, layers, fault):
    with pytest.raises(UserError, match=fault):
        made(toy, noise_multiplier=1.0).check(nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"epsilon": 3, "noise_multiplier": 1}, "give epsilon or noise_multiplier, not both"),
        ({"noise_multiplier": 0}, "noise_multiplier: "),
        ({"epsilon": -1}, "epsilon: "),
        ({"clip": 0}, "clip: "),
        ({"delta": 1}, "delta: "),
        ({"accountant": "moments"}, "accountant: unknown value 'moments'"),
    ],
)
def test_an_option_out_of_range_is_one_line(toy, options, fault):
    with pytest.raises(UserError, match=f"^--defence dpsgd: {fault}"):
        made(toy, **options)


def test_an_epsilon_that_no_noise_can_keep_is_one_line(toy):
    with pytest.raises(UserError, match=r"no noise keeps 30 steps within epsilon 1e-09.*raise dpsgd.epsilon"):
        run(under_way(toy, made(toy, epsilon=1e-9)))


def test_float16_is_refused(toy):
    recipe = toy.recipe.model_copy(update={"precision": "float16"})
    with pytest.raises(UserError, match="float16 scales the gradients that are clipped"):
        made(toy, context=toy.context(1.0, training=recipe), noise_multiplier=1.0)


def test_bfloat16_trains(toy, tmp_path):
    recipe = toy.recipe.model_copy(update={"precision": "bfloat16", "epochs": 1})
    trained = toy.train(tmp_path, made(toy, noise_multiplier=1.0), recipe)
    assert all(weight.dtype == torch.float32 for weight in trained.weights.values())


def test_it_can_be_sent_to_a_worker(toy):
    pickle.loads(pickle.dumps(made(toy, "rigl", epsilon=3.0)))

"""Files that other exporters wrote are audited from the file and two .npz alone."""

import json

import numpy as np
import pytest

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.vision import torchvision

RNG = np.random.default_rng(0)


def overfitted(columns=20, n=400):
    """Two halves of samples with random labels: a model can only learn the first by heart."""
    x = RNG.normal(size=(n, columns)).astype(np.float32)
    y = np.arange(n) % 3
    return (x[: n // 2], y[: n // 2]), (x[n // 2 :], y[n // 2 :])


def audited(typed, file, members, nonmembers, *options):
    for name, (x, y) in (("m.npz", members), ("n.npz", nonmembers)):
        np.savez(name, y=y, **(x if isinstance(x, dict) else {"x": x}))
    answer = typed("audit", file, "--members", "m.npz", "--nonmembers", "n.npz", "--json", *options)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_scikit_learn_model_of_skl2onnx(typed, home, zipmap):
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier

    members, others = overfitted()
    model = MLPClassifier((64,), max_iter=300, random_state=0).fit(*members)
    file = home / "sklearn.onnx"
    file.write_bytes(to_onnx(model, members[0][:1], options={"zipmap": zipmap}, target_opset=18).SerializeToString())
    artifact = open_artifact(file)
    np.testing.assert_allclose(np.exp(artifact.logits(others[0])), model.predict_proba(others[0]), atol=1e-5)
    evidence = audited(typed, file, members, others, "--attacks", "loss,neural-black")
    assert evidence["attacks"][0]["auc"] > 0.9
    assert evidence["notes"] == ["the file answers probabilities: their logarithms serve as logits"]


def test_a_scikit_learn_forest_has_no_white_box_and_its_black_box_runs(typed, home):
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    members, others = overfitted()
    model = RandomForestClassifier(50, random_state=0).fit(*members)
    file = home / "forest.onnx"
    file.write_bytes(to_onnx(model, members[0][:1], target_opset=18).SerializeToString())
    evidence = audited(typed, file, members, others, "--attacks", "loss,neural-white")
    assert evidence["attacks"][0]["auc"] > 0.9
    assert "not linear" in evidence["not_run"][0]["reason"]


@pytest.mark.slow
def test_a_transformer_takes_tokens_and_their_mask(typed, home):
    import torch

    torchvision()  # transformers imports it too
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=3
    )
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.from_numpy(RNG.integers(1, 50, (240, 12)))
    mask = torch.from_numpy((np.arange(12) < RNG.integers(6, 13, (240, 1))).astype(np.int64))
    labels = torch.arange(240) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = model(input_ids=tokens[:120], attention_mask=mask[:120], labels=labels[:120]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()

    class Logits(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return model(input_ids=input_ids, attention_mask=attention_mask).logits

    file = home / "bert.onnx"
    torch.onnx.export(
        Logits().eval(),
        (tokens[:2], mask[:2]),
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes={
            "input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")},
            "attention_mask": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")},
        },
    ).save(file)
    sides = [
        ({"input_ids": tokens[part].numpy(), "attention_mask": mask[part].numpy()}, labels[part].numpy())
        for part in (slice(0, 120), slice(120, 240))
    ]
    evidence = audited(typed, file, *sides, "--attacks", "loss,neural-black")
    assert evidence["task"]["member_accuracy"] > 0.9
    # of labels drawn at random a third of the others is right by chance: 2/3 + 1/3 · 1/2 of the pairs are in order
    assert evidence["attacks"][0]["auc"] == pytest.approx(5 / 6, abs=0.1)

"""Measures of classes and tags against values by hand and formulas written anew, one class or picture at a time."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pose_lightning.metrics.classes import ClassErrors, RankedTags, TagErrors, confidence_bins, ranks


def pictures(count: int = 60, classes: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities that know something, and labels of which class 0 has many and the last one none."""
    generator = torch.Generator().manual_seed(seed)
    shares = 1.0 / torch.arange(1, classes, dtype=torch.float64)
    label = torch.multinomial(shares, count, replacement=True, generator=generator)
    logits = torch.randn(count, classes, dtype=torch.float64, generator=generator)
    logits[torch.arange(count), label] += 1.0
    return logits.softmax(dim=1), label


def tagged(count: int = 50, tags: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities rounded to tenths, so that many are equal, and tags of which the last one never occurs."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, tags, dtype=torch.float64, generator=generator) < torch.linspace(0.6, 0.05, tags)
    target[:, -1] = False
    scores = 0.7 * torch.rand(count, tags, dtype=torch.float64, generator=generator) + 0.3 * target
    return (10 * scores).round() / 10, target.double()


def computed(probabilities: Tensor, label: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    metric = ClassErrors(probabilities.shape[1])
    metric.update(probabilities, label, torch.ones(len(label)) if weight is None else weight)
    return {name: value.item() for name, value in metric.compute().items()}


def computed_tags(probabilities: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    metric = TagErrors(probabilities.shape[1])
    metric.update(probabilities, target, torch.ones(len(target)) if weight is None else weight)
    return {name: value.item() for name, value in metric.compute().items()}


def test_every_measure_of_three_classes_by_hand() -> None:
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.8, 0.1, 0.1]])
    found = computed(probabilities, torch.tensor([0, 0, 1, 1]))  # the third class never occurs
    assert found["top1"] == pytest.approx(75)
    assert found["top5"] == 100
    assert found["balanced"] == pytest.approx(100 * (1 + 1 / 2) / 2)
    first, second = 2 * 1 * (2 / 3) / (1 + 2 / 3), 2 * 1 * 0.5 / 1.5
    assert found["macro_f1"] == pytest.approx(100 * (first + second) / 2)
    assert found["weighted_f1"] == pytest.approx(100 * (first + second) / 2)  # both classes have two pictures
    assert found["nll"] == pytest.approx(-(math.log(0.6) + math.log(0.5) + math.log(0.7) + math.log(0.1)) / 4, rel=1e-6)
    # bins of 1/15: 0.5 alone, 0.6 = 9/15 (which float32 puts a little above), 0.7 alone, 0.8 = 12/15 and wrong
    assert found["ece"] == pytest.approx(100 * (0.4 + 0.5 + 0.3 + 0.8) / 4, rel=1e-6)


def test_f1_and_balanced_accuracy_are_those_of_a_loop_over_classes() -> None:
    probabilities, label = pictures()
    said, found = probabilities.argmax(dim=1), computed(probabilities, label)
    f1s, recalls, supports = [], [], []
    for each in sorted(set(label.tolist())):
        hits = int(((said == each) & (label == each)).sum())
        precision = hits / max(int((said == each).sum()), 1)
        recall = hits / int((label == each).sum())
        f1s.append(0.0 if hits == 0 else 2 * precision * recall / (precision + recall))
        recalls.append(recall)
        supports.append(int((label == each).sum()))
    assert found["balanced"] == pytest.approx(100 * np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(100 * np.mean(f1s))
    assert found["weighted_f1"] == pytest.approx(100 * np.average(f1s, weights=supports))


def test_top5_and_log_loss_are_those_of_torch() -> None:
    probabilities, label = pictures(classes=9)
    found = computed(probabilities, label)
    five = probabilities.topk(5, dim=1).indices
    assert found["top5"] == pytest.approx(100 * (five == label[:, None]).any(dim=1).double().mean().item())
    assert found["nll"] == pytest.approx(torch.nn.functional.nll_loss(probabilities.log(), label).item())


def test_calibration_error_is_that_of_a_loop_over_bins() -> None:
    probabilities, label = pictures(count=400)
    confidence, right = probabilities.amax(dim=1).numpy(), (probabilities.argmax(dim=1) == label).numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert computed(probabilities, label)["ece"] == pytest.approx(100 * expected)


def test_a_bin_of_confidence_holds_its_upper_edge() -> None:
    edges = torch.tensor([0.0, 1 / 15, 1 / 15 + 1e-9, 5 / 15, 14 / 15, 1.0], dtype=torch.float64)
    assert confidence_bins(edges).tolist() == [0, 0, 1, 4, 13, 14]


def test_of_equals_the_first_class_comes_first() -> None:
    probabilities = torch.full((3, 3), 1 / 3)
    assert ranks(probabilities, torch.tensor([0, 1, 2])).tolist() == [0, 1, 2]
    assert computed(probabilities, torch.tensor([0, 1, 2]))["top1"] == pytest.approx(100 / 3)


def test_a_certain_mistake_costs_no_more_than_the_smallest_probability() -> None:
    assert computed(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))["nll"] == pytest.approx(-math.log(1e-12))


def test_probabilities_that_are_not_finite_are_wrong_with_full_confidence() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [math.nan, 0.1], [0.2, math.inf]])
    label = torch.tensor([0, 1, 1])
    found = computed(probabilities, label)
    assert found["top1"] == found["top5"] == pytest.approx(100 / 3)
    assert found["balanced"] == pytest.approx(50)
    assert found["ece"] == pytest.approx(100 * (0.1 + 1 + 1) / 3, rel=1e-6)
    assert found["nll"] == math.inf
    kept = computed(probabilities, label, torch.tensor([1.0, 0.0, 0.0]))  # unless they are padding
    assert kept["top1"] == 100
    assert kept["nll"] == pytest.approx(-math.log(0.9), rel=1e-6)


def test_padding_may_have_any_label_and_others_may_not() -> None:
    probabilities, label = torch.eye(2), torch.tensor([0, -1])
    assert computed(probabilities, label, torch.tensor([1.0, 0.0]))["top1"] == 100
    with pytest.raises(ValueError, match="outside 0 to 1"):
        computed(probabilities, label)
    with pytest.raises(ValueError, match="2 probabilities per picture, wanted 3"):
        ClassErrors(3).update(probabilities, label, torch.ones(2))


def test_nothing_counted_is_undefined() -> None:
    assert all(math.isnan(value) for value in computed(torch.eye(2), torch.tensor([0, 1]), torch.zeros(2)).values())
    assert all(math.isnan(value) for value in computed_tags(torch.eye(2), torch.eye(2), torch.zeros(2)).values())


@pytest.mark.parametrize("kind", [ClassErrors, TagErrors])
def test_any_split_over_batches_and_processes_gives_the_same(kind: type[ClassErrors | TagErrors]) -> None:
    probabilities, label = pictures(21, 7) if kind is ClassErrors else tagged(21, 7)
    whole, first, second = kind(7), kind(7), kind(7)
    whole.update(probabilities, label, torch.ones(21))
    first.update(probabilities[:4], label[:4], torch.ones(4))
    second.update(probabilities[4:20], label[4:20], torch.ones(16))
    second.update(probabilities[19:], label[19:], torch.tensor([0.0, 1.0]))  # one is padding
    second.update(probabilities[:2], label[:2], torch.zeros(2))  # and here all are
    first.merge_state(second)
    assert set(whole.compute()) == set(kind.NAMES)
    for name, value in whole.compute().items():
        assert_close(first.compute()[name], value, rtol=1e-13, atol=0)


def average_precision(scores: np.ndarray, target: np.ndarray) -> float:
    """Sum over thresholds of the gain in recall times the precision, as in scikit-learn's documentation."""
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        recall = (chosen & target).sum() / target.sum()
        area += (recall - before) * (chosen & target).sum() / chosen.sum()
        before = recall
    return area


def test_average_precision_is_the_example_of_scikit_learn() -> None:
    scores, target = torch.tensor([0.1, 0.4, 0.35, 0.8]).double(), torch.tensor([False, False, True, True])
    assert RankedTags(scores[:, None], target[:, None]).average_precision().item() == pytest.approx(0.8333333333)


def test_average_precision_takes_equal_scores_as_one_step() -> None:
    scores, target = tagged(80)
    found = RankedTags(scores, target.bool()).average_precision()
    expected = [average_precision(scores[:, tag].numpy(), target[:, tag].bool().numpy()) for tag in range(5)]
    assert_close(found[:5].numpy(), np.array(expected))
    assert math.isnan(found[5].item())  # no picture has it
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    assert_close(RankedTags(scores[order], target[order].bool()).average_precision()[:5], found[:5])


def test_average_precision_of_one_score_for_all_is_the_share_of_the_tag() -> None:
    _, target = tagged(80)
    found = RankedTags(torch.full_like(target, 0.3), target.bool()).average_precision()
    assert_close(found[:5], target.mean(dim=0)[:5])


def test_average_precision_of_a_resample_is_that_of_its_pictures_written_out() -> None:
    scores, target = tagged(40, seed=2)
    times = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(3))
    resample = torch.arange(40).repeat_interleave(times)
    expected = RankedTags(scores[resample], target[resample].bool()).average_precision()
    found = RankedTags(scores, target.bool()).average_precision(times)
    assert_close(found, expected, equal_nan=True)
    assert not expected[:4].isnan().any()


def test_every_measure_of_tags_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.2, 0.1], [0.6, 0.5, 0.1], [0.4, 0.8, 0.3]])
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])  # the third tag never occurs
    found = computed_tags(probabilities, target)  # exactly 0.5 is not above the threshold
    assert found["map"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1) / 2)
    assert found["micro_f1"] == pytest.approx(100 * 2 * 2 / (4 + 3))
    assert found["macro_f1"] == pytest.approx(100 * (2 * 1 / (2 + 2) + 2 * 1 / (2 + 1)) / 2)
    assert found["subset_accuracy"] == pytest.approx(100 / 3)
    assert found["element_accuracy"] == pytest.approx(100 * 6 / 9)
    assert found["hamming_loss"] == pytest.approx(100 * 3 / 9)


def test_saying_no_to_everything_has_a_high_element_accuracy() -> None:
    target = torch.zeros(50, 100)
    target[:, 3] = 1
    found = computed_tags(torch.zeros(50, 100), target)
    assert found["element_accuracy"] == pytest.approx(99)
    assert found["micro_f1"] == found["subset_accuracy"] == 0


def test_a_tags_probability_that_is_not_finite_is_wrong() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = computed_tags(target, target)
    assert right["map"] == right["element_accuracy"] == 100
    spoiled = computed_tags(torch.tensor([[math.nan, math.nan], [0.0, 1.0]]), target)
    assert spoiled["map"] == pytest.approx(50)  # both positives come second
    assert spoiled["element_accuracy"] == 50


def test_a_mixed_target_of_tags_is_refused() -> None:
    with pytest.raises(ValueError, match="made of 0 and 1"):
        computed_tags(torch.zeros(1, 2), torch.tensor([[0.3, 1.0]]))
    with pytest.raises(ValueError, match="2 probabilities per picture, wanted 3"):
        TagErrors(3).update(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1))

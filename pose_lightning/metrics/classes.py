"""Metrics of classification: one class per picture (`ClassErrors`), or any number of tags (`TagErrors`).

The pure functions take sums over pictures, so that an interval's resamples go through the same formulas. Everything is
in float64 and any split over batches or processes gives the same numbers. Shapes: b pictures, k classes or tags,
r any leading axes.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

BINS: Final = 15
"""Of equal width, as Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2."""

TOP: Final = 5

THRESHOLD: Final = 0.5
"""A tag is predicted where its probability is above this."""

SMALLEST: Final = 1e-12
"""A smaller probability of the true class counts as this one: one exact 0 would make every mean log-loss infinite."""


def ranks(probabilities: Float[Tensor, "b k"], label: Int64[Tensor, " b"]) -> Int64[Tensor, " b"]:
    """How many classes come before the true one: 0 is right; of equals, the first class comes first.

    A row that is not finite predicts nothing: its rank is k, which is wrong at every depth.
    """
    own = probabilities.gather(1, label[:, None])
    before = torch.arange(probabilities.shape[1], device=label.device) < label[:, None]
    found = ((probabilities > own) | ((probabilities == own) & before)).sum(dim=1)
    return torch.where(probabilities.isfinite().all(dim=1), found, probabilities.shape[1])


def predicted_classes(probabilities: Float[Tensor, "b k"]) -> Int64[Tensor, " b"]:
    """The likeliest class, of equals the first; k, which is no class, where the row is not finite."""
    whole = probabilities.isfinite().all(dim=1)
    return torch.where(whole, probabilities.nan_to_num(0.0).argmax(dim=1), probabilities.shape[1])


def log_losses(probabilities: Float[Tensor, "b k"], label: Int64[Tensor, " b"]) -> Float64[Tensor, " b"]:
    """Negative logarithm of the true class's probability, in nats; infinite where the row is not finite."""
    own = probabilities.double().gather(1, label[:, None])[:, 0].clamp(min=SMALLEST)
    return torch.where(probabilities.isfinite().all(dim=1), -own.log(), torch.inf)


def confidences(probabilities: Float[Tensor, "b k"]) -> Float64[Tensor, " b"]:
    """Probability of the predicted class; 1 where the row is not finite, which is the worst for a wrong answer."""
    largest = probabilities.double().nan_to_num(0.0).amax(dim=1)
    return torch.where(probabilities.isfinite().all(dim=1), largest, 1.0)


def confidence_bins(confidence: Float64[Tensor, " b"]) -> Int64[Tensor, " b"]:
    """Which of `BINS` bins each lies in; a bin holds its upper edge."""
    edges = torch.arange(1, BINS, dtype=torch.float64, device=confidence.device) / BINS
    return torch.bucketize(confidence.contiguous(), edges)


def precision(hits: Float64[Tensor, "*r k"], predicted: Float64[Tensor, "*r k"]) -> Float64[Tensor, "*r k"]:
    """Share of right ones among the predicted; 0 where none was predicted."""
    return hits / predicted.clamp(min=1)


def recall(hits: Float64[Tensor, "*r k"], support: Float64[Tensor, "*r k"]) -> Float64[Tensor, "*r k"]:
    """Share of right ones among the true; NaN where there is none."""
    return torch.where(support > 0, hits / support, torch.nan)


def f1(
    hits: Float64[Tensor, "*r k"], support: Float64[Tensor, "*r k"], predicted: Float64[Tensor, "*r k"]
) -> Float64[Tensor, "*r k"]:
    """Harmonic mean of precision and recall; NaN where there is none of the class."""
    return torch.where(support > 0, 2 * hits / (support + predicted), torch.nan)


def weighted_f1(
    hits: Float64[Tensor, "*r k"], support: Float64[Tensor, "*r k"], predicted: Float64[Tensor, "*r k"]
) -> Float64[Tensor, "*r"]:
    """Mean F1 of the classes, each weighing as many pictures as it has."""
    values = f1(hits, support, predicted).nan_to_num(0.0)
    return (values * support).sum(dim=-1) / support.sum(dim=-1)


def micro_f1(
    hits: Float64[Tensor, "*r k"], support: Float64[Tensor, "*r k"], predicted: Float64[Tensor, "*r k"]
) -> Float64[Tensor, "*r"]:
    """F1 of all pairs of a picture and a tag together; NaN where there is no tag, true or predicted."""
    return 2 * hits.sum(dim=-1) / (support + predicted).sum(dim=-1)


def calibration_error(
    count: Float64[Tensor, "*r m"], hits: Float64[Tensor, "*r m"], confidence: Float64[Tensor, "*r m"]
) -> Float64[Tensor, "*r"]:
    """Mean distance between accuracy and confidence of the bins, each weighing as many pictures as it has."""
    return (hits - confidence).abs().sum(dim=-1) / count.sum(dim=-1)


class RankedTags:
    """Pictures by falling score of every tag: average precision of them, or of any resample of them.

    Args:
        scores: Higher is likelier; infinite ones are allowed, NaN is not.
        target: Whether the picture has the tag.
    """

    def __init__(self, scores: Float64[Tensor, "b k"], target: Bool[Tensor, "b k"]) -> None:
        ordered, self._order = scores.T.contiguous().sort(dim=1, descending=True)  # a tag's pictures side by side
        self._target = target.T.gather(1, self._order)
        last = torch.ones_like(self._target)  # of its equals
        last[:, :-1] = ordered[:, :-1] != ordered[:, 1:]
        places = torch.arange(len(scores), device=scores.device).expand_as(last)
        ends = torch.where(last, places, len(scores)).flip(1).cummin(dim=1).values.flip(1)
        self._tags, self._places = self._target.nonzero(as_tuple=True)
        self._ends = ends[self._tags, self._places]

    def average_precision(self, times: Int64[Tensor, " b"] | None = None) -> Float64[Tensor, " k"]:
        """Area under precision over recall of every tag, as a sum of steps; NaN for a tag without a positive.

        Pictures with equal scores are one step, so that their order does not matter (as scikit-learn's
        `average_precision_score`, and unlike the interpolated AP of PASCAL VOC).

        Args:
            times: How often each picture counts; default once.
        """
        counts = torch.ones_like(self._order) if times is None else times[self._order]
        shown = counts.cumsum(dim=1)  # of integers, which CUDA adds up in the same way every time
        hits = (counts * self._target).cumsum(dim=1)
        precisions = hits[self._tags, self._ends].double() / shown[self._tags, self._ends].clamp(min=1)
        gained = counts[self._tags, self._places] * precisions
        area = precisions.new_zeros(len(hits)).index_add_(0, self._tags, gained)
        total = hits[:, -1:].sum(dim=1)
        return torch.where(total > 0, area / total, torch.nan)


def average_precision_influences(scores: Float64[Tensor, "n k"], target: Bool[Tensor, "n k"]) -> Float64[Tensor, " n"]:
    """By how much more weight of each picture moves the mean average precision, times the number of pictures.

    The derivative of the mean over the tags that occur; 0 on average, because the same weight of all changes nothing.
    With precision p and rank r at the step of each positive i, P positives and average precision A, that of a tag is
    (y p - y A + sum over the positives at or below the picture of (y - p_i) / r_i) / P, for a picture that has it (y=1)
    or has not (y=0).
    """
    number, tags = scores.shape
    total, occurring = torch.zeros(number, dtype=torch.float64), 0
    for tag in range(tags):
        has = target[:, tag]
        if not (positives := int(has.sum())):
            continue
        occurring += 1
        values, order = scores[:, tag].sort(descending=True)
        _, step, size = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
        shown = size.cumsum(dim=0).double()  # at each step of equal scores
        right = torch.zeros(len(size), dtype=torch.float64).index_add_(0, step, has[order].double())
        reached = right.cumsum(dim=0) / shown
        area = (right * reached).sum() / positives

        def below(each: Tensor) -> Tensor:
            return each.flip(0).cumsum(dim=0).flip(0)

        y = has[order].double()
        later = y * below(right / shown)[step] - below(right * reached / shown)[step]
        total[order] += (y * (reached[step] - area) + later) / positives
    return number * total / max(occurring, 1)


class ClassErrors(Metric):
    """Measures of pictures that have one class each, over all that `update` was given.

    Pictures of weight 0 (a loader's padding) count nowhere. Probabilities that are not finite are a wrong answer given
    with full confidence, and make `nll` infinite.

    `compute` returns in per cent `top1`, `top5` (100 where there are no more than five classes), `balanced` (mean
    recall of the classes), `macro_f1` (mean F1), both over the classes that occurred, `weighted_f1` (by how often), and
    `ece` (expected calibration error); and `nll` in nats. NaN where nothing was counted.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (`ece`, and its bins).
    """

    higher_is_better = True
    full_state_update = False
    confusion: Int64[Tensor, "k k+1"]
    """True class x predicted class; the last column is of predictions that are not finite."""
    top5: Int64[Tensor, ""]
    log_loss: Float64[Tensor, ""]
    bins: Float64[Tensor, "3 m"]
    """Pictures, right ones and sums of confidence."""

    NAMES: Final = ("top1", "top5", "balanced", "macro_f1", "weighted_f1", "ece", "nll")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        shape = (num_classes, num_classes + 1)
        self.add_state("confusion", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("top5", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("log_loss", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("bins", torch.zeros(3, BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, probabilities: Float[Tensor, "b k"], label: Int64[Tensor, " b"], weight: Float[Tensor, " b"]
    ) -> None:
        """Add pictures: probabilities of the classes, and the number of the true one.

        Raises:
            ValueError: If there are more or fewer classes, or a label is none of them.
        """
        if probabilities.shape[1] != self.num_classes:
            raise ValueError(f"{probabilities.shape[1]} probabilities per picture, wanted {self.num_classes}")
        real = weight > 0
        probabilities, label = probabilities[real], label[real]
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < self.num_classes:
            raise ValueError(f"a label lies outside 0 to {self.num_classes - 1}")
        rank = ranks(probabilities, label)
        pairs = label * (self.num_classes + 1) + predicted_classes(probabilities)
        self.confusion += torch.bincount(pairs, minlength=self.confusion.numel()).reshape(self.confusion.shape)
        self.top5 += ((rank < TOP) & (rank < self.num_classes)).sum()
        self.log_loss += log_losses(probabilities, label).sum()
        confidence = confidences(probabilities)
        parts = torch.stack([torch.ones_like(confidence), (rank == 0).double(), confidence])
        self.bins.index_add_(1, confidence_bins(confidence), parts)

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The values, by name."""
        hits = self.confusion.diagonal().double()
        support, predicted = self.confusion.sum(dim=1).double(), self.confusion.sum(dim=0)[:-1].double()
        count = support.sum()
        shares = {
            "top1": hits.sum() / count,
            "top5": self.top5 / count,
            "balanced": recall(hits, support).nanmean(),
            "macro_f1": f1(hits, support, predicted).nanmean(),
            "weighted_f1": weighted_f1(hits, support, predicted),
            "ece": calibration_error(*self.bins),
        }
        return {**{name: 100 * value for name, value in shares.items()}, "nll": self.log_loss / count}


class TagErrors(Metric):
    """Measures of pictures that have any number of tags, over all that `update` was given.

    Pictures of weight 0 (a loader's padding) count nowhere. A probability that is not finite is wrong: the lowest where
    the picture has the tag, and the highest where it has not.

    `compute` returns in per cent `map` (mean over the tags of the area under precision over recall), `micro_f1` and
    `macro_f1`; over the tags that occurred where it is a mean over tags; and, of the tags whose probability is above
    0.5, `subset_accuracy` (pictures with every tag right), `element_accuracy` (pairs of a picture and a tag that are
    right) and `hamming_loss` (the other pairs). NaN where nothing was counted.
    """

    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    NAMES: Final = ("map", "micro_f1", "macro_f1", "subset_accuracy", "element_accuracy", "hamming_loss")

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.num_tags = num_tags
        self.add_state("scores", [], dist_reduce_fx="cat")  # mean average precision needs them all
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(
        self, probabilities: Float[Tensor, "b k"], target: Float[Tensor, "b k"], weight: Float[Tensor, " b"]
    ) -> None:
        """Add pictures: probabilities of the tags, and 1 for each that the picture has, 0 for the others.

        Raises:
            ValueError: If there are more or fewer tags, or the target is not made of 0 and 1.
        """
        if probabilities.shape[1] != self.num_tags:
            raise ValueError(f"{probabilities.shape[1]} probabilities per picture, wanted {self.num_tags}")
        real = weight > 0
        chosen = target[real] > THRESHOLD
        if not torch.equal(chosen.to(target.dtype), target[real]):
            raise ValueError("a target of tags is made of 0 and 1; these were mixed or smoothed")
        self.scores.append(worst_where_undefined(probabilities[real].double(), chosen))
        self.targets.append(chosen)

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The values, by name."""
        scores, target = _joined(self.scores), _joined(self.targets)
        chosen = scores > THRESHOLD
        hits = (chosen & target).sum(dim=0).double()
        support, predicted = target.sum(dim=0).double(), chosen.sum(dim=0).double()
        right = chosen == target
        shares = {
            "map": RankedTags(scores, target).average_precision().nanmean(),
            "micro_f1": micro_f1(hits, support, predicted),
            "macro_f1": f1(hits, support, predicted).nanmean(),
            "subset_accuracy": right.all(dim=1).double().mean(),
            "element_accuracy": right.double().mean(),
            "hamming_loss": (~right).double().mean(),
        }
        return {name: 100 * value for name, value in shares.items()}


def worst_where_undefined(scores: Float64[Tensor, "b k"], target: Bool[Tensor, "b k"]) -> Float64[Tensor, "b k"]:
    """The scores; where one is not finite, the one that is as wrong as can be."""
    worst = torch.where(target, -torch.inf, torch.inf).to(scores)
    return torch.where(scores.isfinite(), scores, worst)


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    """All batches; torchmetrics hands over one tensor once it has gathered processes."""
    return parts if isinstance(parts, Tensor) else torch.cat(parts)

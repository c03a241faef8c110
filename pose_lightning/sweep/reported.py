"""What the five reports claim, and which contrasts of which sweeps test it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Side = Mapping[str, str]
"""Cells: of each parameter that matters a pattern, as of file names, for its value as comparisons show it; a sweep's
other parameters are free."""


@dataclass(frozen=True)
class Contrast:
    """Two sides that a claim compares.

    Attributes:
        better: What is claimed to be better, or the same.
        worse: Than this.
    """

    better: Side
    worse: Side


@dataclass(frozen=True)
class Claim:
    """A claim of a report.

    Attributes:
        text: In one sentence.
        source: Which report, and where in it.
        metric: Logged name of what decides.
        sweeps: That test it, by the names of their files.
        contrasts: Of which the claim says that all hold.
        margin: In the metric's unit; with it the claim is that both sides differ by less. The reports name none, so
            these are ours.
        note: How the test differs from what the report did.
    """

    text: str
    source: str
    metric: str
    sweeps: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    margin: float | None = None
    note: str = ""


OPTIMIZER: Final = "optimizer"
BATCH: Final = "batch_size"
FROZEN: Final = "freeze.n"
HOURGLASSES: Final = ("hourglass_optim", "hourglass_optim_tuned", "hourglass_lsp_optim")

RMSPROP_8: Final[Side] = {OPTIMIZER: "rmsprop*", BATCH: "8"}
RMSPROP_16: Final[Side] = {OPTIMIZER: "rmsprop*", BATCH: "16"}
ADAM_8: Final[Side] = {OPTIMIZER: "adam*", BATCH: "8"}
ADAM_16: Final[Side] = {OPTIMIZER: "adam*", BATCH: "16"}

CLAIMS: Final = (
    Claim(
        "By validation loss, worst to best: RMSprop with 8, Adam with 8, RMSprop with 16, Adam with 16.",
        "004, section 4, figure 8",
        "val/loss",
        HOURGLASSES,
        (Contrast(ADAM_8, RMSPROP_8), Contrast(RMSPROP_16, ADAM_8), Contrast(ADAM_16, RMSPROP_16)),
    ),
    Claim(
        "Adam with a batch of 16 has the lowest validation loss of the four.",
        "004, section 4, figure 8",
        "val/loss",
        HOURGLASSES,
        (Contrast(ADAM_16, RMSPROP_16), Contrast(ADAM_16, ADAM_8), Contrast(ADAM_16, RMSPROP_8)),
    ),
    Claim(
        "Adam alone lowers the validation loss slightly.",
        "004, section 4, figure 8",
        "val/loss",
        HOURGLASSES,
        (Contrast(ADAM_8, RMSPROP_8),),
    ),
    Claim(
        "A batch of 16 alone lowers the validation loss noticeably.",
        "004, section 4, figure 8",
        "val/loss",
        HOURGLASSES,
        (Contrast(RMSPROP_16, RMSPROP_8),),
    ),
    Claim(
        "Adam with 16 is about a point of PCKh better than RMSprop with 8.",
        "004, section 4, figure 7",
        "val/pckh",
        HOURGLASSES,
        (Contrast(ADAM_16, RMSPROP_8),),
        note="that it is better, is tested; over 14 joints",
    ),
    Claim(
        "Changing the optimizer to Adam improves results.",
        "004, conclusions",
        "val/pckh",
        HOURGLASSES,
        (Contrast({OPTIMIZER: "adam*"}, {OPTIMIZER: "rmsprop*"}),),
        note="both batch sizes averaged",
    ),
    Claim(
        "Increasing the batch size improves results.",
        "004, sections 3 and 5",
        "val/pckh",
        HOURGLASSES,
        (Contrast({BATCH: "16"}, {BATCH: "8"}),),
        note="all optimizers averaged, SGD too, which is not in the report",
    ),
    Claim(
        "With Adam the CNN-LSTM-MLP does not improve; with SGD it does.",
        "000, Hyper Parameters",
        "val/mpjpe",
        ("regression_optim",),
        (Contrast({OPTIMIZER: "sgd_1e-2"}, {OPTIMIZER: "keras_adam_1e-3"}),),
        note="that SGD is better, is tested, against Keras' default rate of Adam",
    ),
    Claim(
        "A larger network, such as ResNet-18, would be more accurate.",
        "000, Future Considerations",
        "val/mpjpe",
        ("regression_architecture",),
        (Contrast({"encoder": "timm:resnet18"}, {"encoder": "vgg"}),),
        note="a conjecture of the report; all temporal parts averaged",
    ),
    Claim(
        "A larger batch would be more accurate.",
        "000, Future Considerations",
        "val/mpjpe",
        ("regression_batch",),
        (Contrast({BATCH: "8"}, {BATCH: "3"}),),
        note="a conjecture of the report, which had 3; here at equal samples seen",
    ),
    Claim(
        "Adam converges slightly faster with a rate of 1e-3 than with 1e-4.",
        "001, Discussion",
        "val/mpjpe",
        ("regression_optim",),
        (Contrast({OPTIMIZER: "keras_adam_1e-3"}, {OPTIMIZER: "keras_adam_1e-4"}),),
        note="here with report 000's network, at the end of its budget",
    ),
    Claim(
        "An RNN in the LSTM's place keeps the performance almost the same.",
        "002, Brief Discussion",
        "val/mpjpe",
        ("regression_recurrent",),
        (Contrast({"temporal": "rnn"}, {"temporal": "lstm"}),),
        margin=5.0,
    ),
    Claim(
        "Batches of 100 are better than of 30, for Xception.",
        "003, Xception Model; Parameters Exploration, rows 1 and 2",
        "val/top1",
        ("activity_xception",),
        (Contrast({BATCH: "100"}, {BATCH: "30"}),),
        note="all optimizers and frozen parts averaged",
    ),
    Claim(
        "Adam is better than SGD, with and without Nesterov's momentum, for Xception.",
        "003, Xception Model; Parameters Exploration, rows 2 to 5",
        "val/top1",
        ("activity_xception",),
        (
            Contrast({OPTIMIZER: "keras_adam_1e-3"}, {OPTIMIZER: "sgd_1e-2"}),
            Contrast({OPTIMIZER: "keras_adam_1e-3"}, {OPTIMIZER: "nesterov_1e-2"}),
        ),
        note="all batch sizes and frozen parts averaged",
    ),
    Claim(
        "7 and 47 as the number of held layers are better than 17, for Xception.",
        "003, Xception Model",
        "val/top1",
        ("activity_xception",),
        (Contrast({FROZEN: "7"}, {FROZEN: "17"}), Contrast({FROZEN: "47"}, {FROZEN: "17"})),
        note="read as all but the last so many; all optimizers and batch sizes averaged",
    ),
    Claim(
        "With Nesterov's momentum and batches of 100, 47 is better than 7 as the number of held layers.",
        "003, Parameters Exploration, rows 3 and 4",
        "val/top1",
        ("activity_xception",),
        (
            Contrast(
                {OPTIMIZER: "nesterov_1e-2", BATCH: "100", FROZEN: "47"},
                {OPTIMIZER: "nesterov_1e-2", BATCH: "100", FROZEN: "7"},
            ),
        ),
        note="read as all but the last so many",
    ),
    Claim(
        "Shuffling improves the results.",
        "003, Xception Model",
        "val/top1",
        ("activity_data",),
        (Contrast({"shuffle": "true"}, {"shuffle": "false"}),),
        note="all augmentations averaged",
    ),
    Claim(
        "Augmented pictures alone are better than appended to the originals.",
        "003, Xception Model",
        "val/top1",
        ("activity_data",),
        (Contrast({"augmentation": "alone"}, {"augmentation": "appended"}),),
        note="at equal pictures seen, with and without shuffling averaged",
    ),
    Claim(
        "One dense layer on flat features is better than a hidden layer with dropout.",
        "003, Xception Model",
        "val/top1",
        ("activity_head",),
        (Contrast({"head": "flatten"}, {"head": "mlp"}),),
    ),
    Claim(
        "10 as the number of held layers is better than 20, for ResNet-50.",
        "003, ResNet50 Model",
        "val/top1",
        ("activity_resnet50",),
        (Contrast({FROZEN: "10"}, {FROZEN: "20"}),),
        note="read as all but the last so many",
    ),
    Claim(
        "10 as the number of held layers is better than 20, for VGG-16.",
        "003, VGG16 Model",
        "val/top1",
        ("activity_vgg16",),
        (Contrast({"freeze": "*all_but_last*"}, {"freeze": "*none*"}),),
        note="all but the last 20 of its 19 layers are none",
    ),
    Claim(
        "Validation accuracy, best to worst: Xception, VGG-16, Inception-ResNet-v2, ResNet-50.",
        "003, Models Exploration; ResNet50 Model",
        "val/top1",
        ("activity_backbone",),
        (
            Contrast({"backbone": "xception"}, {"backbone": "vgg16"}),
            Contrast({"backbone": "vgg16"}, {"backbone": "inception_resnet_v2"}),
            Contrast({"backbone": "inception_resnet_v2"}, {"backbone": "resnet50"}),
        ),
        note="with the same size, epochs and batches for all",
    ),
    Claim(
        "SGD is better than Adam for activities named by many words (56.66 against 47.75 % in validation).",
        "003, Bonus Part",
        "val/map",
        ("activity_multilabel_optim",),
        (Contrast({OPTIMIZER: "sgd_1e-2"}, {OPTIMIZER: "keras_adam_1e-3"}),),
        note="the report compared them with one class for each activity; here tags, by mAP",
    ),
)

"""What the progress bar says, on a real trainer."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from pose_lightning import cli
from pose_lightning.training.progress import MetricBar

ROOT = Path(__file__).resolve().parents[2]


class Task(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/pckh", 12.5, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(("end", "epoch"), [({"max_epochs": 2}, "Epoch 1/1 "), ({"max_steps": 8}, "Epoch 1 ")])
def test_loss_and_metric_fit_a_line_of_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: dict[str, int], epoch: str
) -> None:
    bar = MetricBar(console_kwargs={"width": 80, "force_terminal": False})
    trainer = pl.Trainer(
        **end,  # type: ignore[arg-type]
        accelerator="cpu",
        callbacks=[bar],
        logger=CSVLogger(tmp_path),
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
    )
    data = torch.utils.data.DataLoader(torch.ones(4, 1))
    trainer.fit(Task(), data, data)
    assert set(bar.get_metrics(trainer, trainer.lightning_module)) == {"loss", "val/pckh"}
    last = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")][-1]
    assert last.startswith(epoch)
    assert "loss: " in last
    assert last.rstrip().endswith("val/pckh: 12.500")


def test_a_run_has_the_bar_unless_it_wants_none(demo_stores: Path) -> None:
    args = [f"--config={ROOT / 'experiments' / 'hourglass_mpii.yaml'}", f"--data.root={demo_stores}"]
    args += [f"--config={ROOT / 'experiments' / 'demo' / 'hourglass_mpii.yaml'}"]
    assert isinstance(cli.build(args).trainer.progress_bar_callback, MetricBar)
    assert cli.build([*args, "--trainer.enable_progress_bar=false"]).trainer.progress_bar_callback is None

"""`brightness.csv`."""

from pose_lightning.predict.pictures import Photographs
from pose_lightning.predict.request import Request
from pose_lightning.predict.results import CsvFile
from tests.toy_task.estimator import Estimator


def predict(estimator: Estimator, request: Request) -> None:
    """A line for each picture."""
    photographs = Photographs(request.pictures().photographs, request.folder)
    with CsvFile(request.folder / "brightness.csv", ("file", "brightness")) as table:
        for path, picture in photographs:
            table.rows([[path.name, f"{estimator.brightness(picture):.3f}"]])

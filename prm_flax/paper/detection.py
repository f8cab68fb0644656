"""Table 4, quoted digit for digit: detectors on MS COCO (source: classification.py)."""

from prm_flax.paper.form import Column, Row, Table
from prm_flax.runs import PRECISIONS

TITLES = "AP50:95 AP50 AP75 AP_S AP_M AP_L".split()
COUNTED = Column("GMac", "counter"), Column("Parameters(M)", "parameters")

REPEATED = (
    "The paper repeats the figure of the plain ResNet50: PRM's operations are missing "
    "there. With them it is {exact}."
)
ROUNDED_DOWN = "The paper repeats the figure of the plain ResNet50, 37,743,348."


def _row(detector: str, backbone: str, printed: str, model: str, **why: str) -> Row:
    labels = detector, backbone
    return Row(labels, tuple(printed.split()), model, why=why, kind="detector")


TABLE4 = Table(
    4,
    "Detection performance (%) using different backbones on the MS-COCO validation "
    "dataset.",
    ("Detector", "Backbone"),
    (*map(Column, TITLES, PRECISIONS), *COUNTED),
    (
        _row(
            "RetinaNet",
            "ResNet50 [He et al., 2016]",
            "36.2 55.9 38.5 19.4 39.8 48.3 239.32 37.74",
            "retinanet_resnet50",
        ),
        _row(
            "RetinaNet",
            "SE-ResNet50 [Hu et al., 2018b]",
            "37.4 57.8 39.8 20.6 40.8 50.3 239.43 40.25",
            "retinanet_se_resnet50",
        ),
        _row(
            "RetinaNet",
            "PRM-ResNet50 (ours)",
            "37.7 58.4 39.7 21.4 40.6 50.7 239.32 37.74",
            "retinanet_prm_resnet50",
            counter=REPEATED.format(exact="239.4473"),
            parameters=ROUNDED_DOWN,
        ),
        _row(
            "Cascade R-CNN",
            "ResNet50 [He et al., 2016]",
            "40.6 58.9 44.2 22.4 43.7 54.7 234.71 69.17",
            "cascade_rcnn_resnet50",
        ),
        _row(
            "Cascade R-CNN",
            "GC-ResNet50 [Cao et al., 2019]",
            "41.1 59.7 44.6 23.6 44.1 54.3 234.82 71.69",
            "cascade_rcnn_gc_resnet50",
        ),
        _row(
            "Cascade R-CNN",
            "PRM-ResNet50 (ours)",
            "42.5 61.2 46.2 24.2 45.8 56.4 234.71 69.17",
            "cascade_rcnn_prm_resnet50",
            counter=REPEATED.format(exact="234.8377"),
        ),
    ),
)

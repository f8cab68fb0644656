"""Table 4, quoted digit for digit: detectors on MS COCO (source: classification.py)."""

from prm_flax.paper.form import Column, Row, Table

TITLES = "AP50:95 AP50 AP75 AP_S AP_M AP_L GMac Parameters(M)".split()


def _row(detector: str, backbone: str, printed: str) -> Row:
    return Row((detector, backbone), tuple(printed.split()))


TABLE4 = Table(
    4,
    "Detection performance (%) using different backbones on the MS-COCO validation "
    "dataset.",
    ("Detector", "Backbone"),
    tuple(map(Column, TITLES)),
    (
        _row(
            "RetinaNet",
            "ResNet50 [He et al., 2016]",
            "36.2 55.9 38.5 19.4 39.8 48.3 239.32 37.74",
        ),
        _row(
            "RetinaNet",
            "SE-ResNet50 [Hu et al., 2018b]",
            "37.4 57.8 39.8 20.6 40.8 50.3 239.43 40.25",
        ),
        _row(
            "RetinaNet",
            "PRM-ResNet50 (ours)",
            "37.7 58.4 39.7 21.4 40.6 50.7 239.32 37.74",
        ),
        _row(
            "Cascade R-CNN",
            "ResNet50 [He et al., 2016]",
            "40.6 58.9 44.2 22.4 43.7 54.7 234.71 69.17",
        ),
        _row(
            "Cascade R-CNN",
            "GC-ResNet50 [Cao et al., 2019]",
            "41.1 59.7 44.6 23.6 44.1 54.3 234.82 71.69",
        ),
        _row(
            "Cascade R-CNN",
            "PRM-ResNet50 (ours)",
            "42.5 61.2 46.2 24.2 45.8 56.4 234.71 69.17",
        ),
    ),
    (
        "The columns of this project are blank: it has no detectors yet.",
        "Parameters(M) are trainable ones: the stem and stage 1 are frozen, an "
        "attention module in stage 1 is not; GMac is for an image of 1280×800.",
        "Measured by running public PyTorch code, not by this project: RetinaNet with "
        "PRM-ResNet50 has 37,746,715 trainable parameters (printed 37.74, rounded "
        "37.75) and 239.4473 GMac (printed 239.32, that of the plain ResNet50, which "
        "is 239.3165); Cascade R-CNN with it has 234.8377 GMac (printed 234.71, again "
        "the plain ResNet50's, 234.7070).",
    ),
)

"""Tables 1, 2, 3 and 5, quoted digit for digit: classification on ImageNet.

X. Ma, S. Fu, "Position-Aware Recalibration Module: Learning From Feature Semantics and
Feature Position", IJCAI 2020.
"""

from prm_flax.paper.form import Column, Row, Table

PADDED = (
    "25.560 is a figure of two decimals with a zero behind it: exactly it is 25.559 "
    "with SGE and 25.561 with PRM."
)
ROUNDED_UP = (
    "The paper prints 3.51 with and without PRM; without it is 3,504,872, which rounds "
    "to 3.50."
)

TABLE1 = Table(
    1,
    "Comparison results of classification accuracy (%) and complexity on ImageNet.",
    ("Model",),
    (
        Column("top-1 acc.", "top1"),
        Column("top-5 acc.", "top5"),
        Column("FLOPs (G)", "counter"),
        Column("Parameters (M)", "parameters"),
    ),
    (
        Row(
            ("ResNet50 [He et al., 2016]",),
            ("75.8974", "92.7224", "4.122", "25.557"),
            "resnet50",
        ),
        Row(
            ("SE-ResNet50 [Hu et al., 2018b]",),
            ("77.2877", "93.6478", "4.130", "28.088"),
            "se_resnet50",
        ),
        Row(
            ("GE-ResNet50 [Hu et al., 2018a]",),
            ("76.2357", "92.9847", "4.127", "25.557"),
            "ge_resnet50",
        ),
        Row(
            ("CBAM-ResNet50 [Woo et al., 2018]",),
            ("77.2840", "93.6005", "4.139", "28.090"),
            "cbam_resnet50",
        ),
        Row(
            ("SK-ResNet50 [Li et al., 2019b]",),
            ("77.3657", "93.5256", "4.187", "26.154"),
            "sk_resnet50",
        ),
        Row(
            ("GC-ResNet50 [Cao et al., 2019]",),
            ("74.8966", "92.2812", "4.130", "28.105"),
            "gc_resnet50",
        ),
        Row(
            ("SGE-ResNet50 [Li et al., 2019a]",),
            ("77.5072", "93.6783", "4.127", "25.560"),
            "sge_resnet50",
            why={"parameters": PADDED},
        ),
        Row(
            ("PRM-ResNet50 (ours)",),
            ("77.6474", "93.6418", "4.128", "25.560"),
            "prm_resnet50",
            why={"parameters": PADDED},
        ),
    ),
)

TABLE2 = Table(
    2,
    "The performance of PRM on different CNN architectures.",
    ("Models", "PRM"),
    (
        Column("top-1", "top1"),
        Column("FLOPs", "counter"),
        Column("Parameters", "parameters"),
    ),
    (
        Row(("ResNet50", "w/o"), ("75.8974", "4.122G", "25.56M"), "resnet50"),
        Row(("ResNet50", "w/"), ("77.6474", "4.128G", "25.56M"), "prm_resnet50"),
        Row(
            ("MobileNetV2", "w/o"),
            ("71.0320", "0.320G", "3.51M"),
            "mobilenet_v2",
            why={"parameters": ROUNDED_UP},
        ),
        Row(("MobileNetV2", "w/"), ("72.5466", "0.321G", "3.51M"), "prm_mobilenet_v2"),
        Row(("MnasNet", "w/o"), ("71.7195", "0.330G", "4.38M"), "mnasnet1_0"),
        Row(("MnasNet", "w/"), ("73.0147", "0.331G", "4.38M"), "prm_mnasnet1_0"),
    ),
)

ACCURACIES = (Column("top-1", "top1"), Column("top-5", "top5"))

TABLE3 = Table(
    3,
    "Ablation on similarity functions.",
    ("network", "similarity function"),
    ACCURACIES,
    (
        Row(
            ("Resnet50", "Cosine"),
            ("77.6517", "93.6711"),
            "prm_resnet50",
            {"similarity": "cosine"},
        ),
        Row(
            ("Resnet50", "L1-norm"),
            ("77.6012", "93.5944"),
            "prm_resnet50",
            {"similarity": "l1"},
        ),
        Row(
            ("Resnet50", "Dotproduct"),
            ("77.6474", "93.6418"),
            "prm_resnet50",
            {"similarity": "dot"},
        ),
        Row(
            ("MobileNetV2", "Cosine"),
            ("72.5374", "90.8714"),
            "prm_mobilenet_v2",
            {"similarity": "cosine"},
        ),
        Row(
            ("MobileNetV2", "L1-norm"),
            ("72.5570", "90.7993"),
            "prm_mobilenet_v2",
            {"similarity": "l1"},
        ),
        Row(
            ("MobileNetV2", "Dotproduct"),
            ("72.5466", "90.8960"),
            "prm_mobilenet_v2",
            {"similarity": "dot"},
        ),
    ),
    ("A similarity has no parameters, and the counter leaves similarities out.",),
)

TABLE5 = Table(
    5,
    "Ablation studies on each component of PRM.",
    ("Feature dependency", "Position encoding", "Normalization"),
    ACCURACIES,
    (
        Row(("", "", ""), ("68.9632", "88.5902"), "resnet18"),
        Row(
            ("✓", "", ""),
            ("70.1863", "89.4491"),
            "prm_resnet18",
            {"position": False, "normalize": False},
        ),
        Row(
            ("✓", "✓", ""),
            ("70.2388", "89.4970"),
            "prm_resnet18",
            {"normalize": False},
        ),
        Row(
            ("✓", "", "✓"), ("70.4467", "89.5653"), "prm_resnet18", {"position": False}
        ),
        Row(("✓", "✓", "✓"), ("70.5616", "89.6635"), "prm_resnet18"),
    ),
    (
        "The networks are ResNet-18s. The paper does not say what stands in the place "
        "of a component that is left out. Here, without the position encoding D is 1; "
        "without the normalization (S − μ)/σ is left out, λ and ξ stay.",
        "All parameters of PRM stay in every variant, unused or not, and the counter "
        "is that of the whole PRM.",
    ),
)

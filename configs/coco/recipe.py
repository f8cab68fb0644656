"""The paper's recipe for COCO, that of its Table 4."""

from train.config import (
    Checkpoint,
    DetectionConfig,
    DetectionData,
    DetectionOptim,
    Detector,
)

# Of 16 images a batch.
RATES = {"retinanet": 0.01, "cascade_rcnn": 0.02}


def detector(name: str) -> DetectionConfig:
    """24 epochs of 16 images, ÷ 10 after 16 and 22, 500 steps of warm-up.

    Images of 1333×800 at most with their ratio kept, half of them mirrored. Stem and
    first stage are frozen; the backbone starts from ImageNet's weights: `--init FILE
    --init.new neck,bbox_head` (of Cascade R-CNN neck,rpn_head,roi_head).
    """
    kind = next(kind for kind in RATES if name.startswith(kind))
    return DetectionConfig(
        name=f"coco_{name}",
        model=Detector(name=name),
        data=DetectionData(source="coco", size=(800, 1333), flip=True),
        optim=DetectionOptim(
            peak_lr=RATES[kind],
            lr_images=16,
            milestones=(16, 22),
            warmup_steps=500,
            momentum=0.9,
            weight_decay=1e-4,
        ),
        checkpoint=Checkpoint(every_steps=2000),
        epochs=24,
        batch_size=16,
        eval_batch_size=16,
    )

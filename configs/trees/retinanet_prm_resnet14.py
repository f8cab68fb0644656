"""RetinaNet with PRM on aerial photographs of trees, on two CPU cores.

python -m train fit configs/trees/retinanet_prm_resnet14.py
"""

from train.config import (
    Checkpoint,
    DetectionConfig,
    DetectionData,
    DetectionOptim,
    Detector,
    Log,
)


def config() -> DetectionConfig:
    return DetectionConfig(
        name="trees_retinanet_prm_resnet14",
        model=Detector(
            name="retinanet_prm_resnet14",
            norms="batch",
            stem="imagenet",
            groups=8,
            frozen_stages=0,
            channels=64,
            depth=1,
        ),
        data=DetectionData(
            source="trees",
            size=(400, 400),
            least_size=320,
            crop=0.8,
            mean=(0.4,),
            std=(0.2,),
            workers=0,
        ),
        optim=DetectionOptim(
            schedule="cosine",
            peak_lr=0.04,
            warmup_epochs=1.0,
            clip_norm=10.0,
            nesterov=True,
            no_decay=("norms", "biases", "prm"),
        ),
        checkpoint=Checkpoint(every_steps=200),
        log=Log(every_steps=10),
        epochs=10,
        batch_size=4,
        eval_batch_size=4,
    )

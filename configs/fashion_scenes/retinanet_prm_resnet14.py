"""RetinaNet with PRM on scenes of Fashion-MNIST, in minutes on two CPU cores.

python -m train fit configs/fashion_scenes/retinanet_prm_resnet14.py
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
        name="fashion_scenes_retinanet_prm_resnet14",
        model=Detector(
            name="retinanet_prm_resnet14",
            stem="imagenet",
            groups=8,
            frozen_stages=0,
            channels=64,
            depth=1,
            norms="batch",
        ),
        data=DetectionData(
            source="fashion_scenes",
            size=(128, 128),
            mean=(0.2,),
            std=(0.3,),
            flip=True,
            workers=0,
            scene_side=128,
            scene_scale=(1.25, 2.25),
            scene_items=(2, 4),
            scene_count=(10000, 400),
        ),
        optim=DetectionOptim(
            schedule="cosine",
            peak_lr=0.05,
            warmup_epochs=0.2,
            clip_norm=5.0,
            nesterov=True,
            no_decay=("norms", "biases", "prm"),
        ),
        checkpoint=Checkpoint(every_steps=500),
        log=Log(every_steps=25),
        epochs=2,
        batch_size=8,
        eval_batch_size=16,
    )

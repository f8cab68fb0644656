"""Twenty steps of a small detector on scenes of Fashion-MNIST's items.

python -m train fit tests/e2e/tiny_scenes.py --workdir FOLDER
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
        name="tiny_scenes",
        model=Detector(
            name="retinanet_prm_resnet14",
            norms="batch",
            stem="imagenet",
            groups=8,
            frozen_stages=0,
            channels=16,
            depth=1,
        ),
        data=DetectionData(
            source="fashion_scenes",
            size=(64, 64),
            least_size=48,
            crop=0.8,
            mean=(0.2,),
            std=(0.3,),
            workers=0,
            scene_side=64,
            scene_scale=(1.0, 1.5),
            scene_items=(1, 2),
            scene_count=(40, 24),
        ),
        optim=DetectionOptim(peak_lr=0.02, warmup_steps=5, clip_norm=5.0),
        checkpoint=Checkpoint(every_steps=3),
        log=Log(every_steps=2),
        epochs=2,
        batch_size=4,
        eval_batch_size=8,
    )

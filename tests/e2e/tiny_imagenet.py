"""Twenty steps on a small ImageNet: 320 and 100 JPEG files that the tests make.

python -m train fit tests/e2e/tiny_imagenet.py --data.root FOLDER --workdir FOLDER
"""

from train.config import Checkpoint, Config, Data, Log, Model, Optim


def config() -> Config:
    return Config(
        name="tiny_imagenet",
        model=Model(name="prm_resnet14", stem="3x3_stride2", groups=8, batch_norm=8),
        data=Data(
            source="imagenet2012",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            flip=True,
            image_size=32,
            eval_resize=36,
            workers=2,
        ),
        optim=Optim(warmup_epochs=0.5, ema=0.9, no_decay=("norms", "biases")),
        checkpoint=Checkpoint(every_steps=3),
        log=Log(every_steps=2),
        epochs=2,
        batch_size=32,
        eval_batch_size=40,
    )

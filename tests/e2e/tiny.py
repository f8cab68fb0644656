"""Twenty steps of real training: 640 and 200 images of Fashion-MNIST.

python -m train fit tests/e2e/tiny.py --workdir FOLDER
"""

from pathlib import Path

from train.config import Checkpoint, Config, Data, Log, Model, Optim

ROOT = Path(__file__).parents[1] / "data" / "fashion_mnist_tiny"


def config() -> Config:
    return Config(
        name="tiny",
        model=Model(name="prm_resnet14", stem="3x3_stride2", groups=8),
        data=Data(source="idx", root=str(ROOT), flip=True),
        optim=Optim(warmup_epochs=0.5, nesterov=True, label_smoothing=0.1),
        checkpoint=Checkpoint(every_steps=3),
        log=Log(every_steps=2),
        epochs=2,
        batch_size=64,
        eval_batch_size=80,
    )

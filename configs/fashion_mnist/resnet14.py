"""ResNet-14 on Fashion-MNIST: prm_resnet14.py without PRM.

python -m train fit configs/fashion_mnist/resnet14.py
"""

from train.config import Config, Data, Model, Optim


def config() -> Config:
    return Config(
        name="fashion_mnist_resnet14",
        model=Model(name="resnet14", stem="3x3_stride2"),
        data=Data(source="fashion_mnist", mean=(0.286,), std=(0.353,), flip=True),
        optim=Optim(
            peak_lr=0.2,
            schedule="cosine",
            warmup_epochs=0.5,
            nesterov=True,
            weight_decay=5e-4,
            no_decay=("norms", "biases", "prm"),
        ),
        epochs=4,
        batch_size=128,
    )

"""PRM-ResNet-14 on Fashion-MNIST, in minutes on two CPU cores.

python -m train fit configs/fashion_mnist/prm_resnet14.py
"""

from train.config import Config, Data, Model, Optim


def config() -> Config:
    return Config(
        name="fashion_mnist_prm_resnet14",
        model=Model(name="prm_resnet14", stem="3x3_stride2", groups=8),
        # Mean and standard deviation of the 60,000 training images' pixels.
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

"""What the picture of predictions demands, said before anything is drawn."""

import numpy as np

MOST = 16


def check_predictions(images, labels, probabilities, names, queries) -> None:
    """Raises ValueError unless the arguments of `plots.predictions` fit together."""
    n, shape = len(images), images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
        raise ValueError(
            "images must be (n, height, width, 1 or 3) of uint8, as they were before "
            f"normalisation, got {shape} of {images.dtype}."
        )
    if not 1 <= n <= MOST:
        raise ValueError(f"From 1 to {MOST} images fit, got {n}; take images[:{MOST}].")
    if probabilities.shape != (n, len(names)):
        raise ValueError(
            f"probabilities must be (images, class_names) = ({n}, {len(names)}), got "
            f"{probabilities.shape}."
        )
    if not (
        np.allclose(probabilities.sum(1), 1, atol=0.02) and probabilities.min() >= 0
    ):
        raise ValueError(
            "Each row of probabilities must be at least 0 and sum to 1; "
            "jax.nn.softmax(logits) is such."
        )
    if labels is not None and (
        len(labels) != n or not all(0 <= label < len(names) for label in labels)
    ):
        raise ValueError(
            f"labels must be {n} integers from 0 to {len(names) - 1}, or None; got "
            f"{labels}."
        )
    for stage, points in queries.items():
        if np.ndim(points) != 3 or len(points) != n or np.shape(points)[2] != 2:
            raise ValueError(
                f"queries[{stage!r}] must be (images, groups, 2) = ({n}, g, 2), got "
                f"{np.shape(points)}."
            )

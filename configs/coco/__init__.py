"""The paper's classifiers on ImageNet."""

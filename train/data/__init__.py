"""Where images come from: one file a source, then augmentation and batches."""

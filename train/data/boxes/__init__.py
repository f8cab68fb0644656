"""Images with boxes: what a set states of them, their sizes, their batches."""

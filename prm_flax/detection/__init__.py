"""Object detection: boxes, anchors, their assignment, suppression and losses."""

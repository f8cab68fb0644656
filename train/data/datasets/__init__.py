"""The sets of images, one file each."""

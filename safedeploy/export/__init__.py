"""From a trained classifier to the files of a bundle, each run in its real runtime before it ships."""

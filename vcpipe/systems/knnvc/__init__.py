"""kNN-VC: every frame of the source becomes the mean of the target's nearest frames (arXiv 2305.18975)."""

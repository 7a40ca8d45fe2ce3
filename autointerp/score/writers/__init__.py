"""Who writes texts for and against a label, one file each; `generation` runs the subject on them."""

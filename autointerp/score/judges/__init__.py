"""Judges, one file each; `judge` says what one is."""

LOCAL_JUDGE_CAVEAT = (
    "The local judge compares words, and carries out labels that are rules: its scores can't be compared with a"
    " language model's."
)

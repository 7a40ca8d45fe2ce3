"""The stages wired together: what a run is made of, how it resumes, who carries it out."""

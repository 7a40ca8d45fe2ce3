"""Maps of labels: where each lies in the plane, what lies together and how it is called, and the file that keeps it."""

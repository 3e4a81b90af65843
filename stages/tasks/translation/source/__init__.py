"""Download: corpora as their publishers write them, and the sample of dates."""

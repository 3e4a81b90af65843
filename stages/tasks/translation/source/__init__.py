"""Download: corpora as their publishers write them, and the sample of dates.

It writes `data/translation/raw` in the publishers' own formats. A change here fetches again, and retrains only where
those bytes change.
"""

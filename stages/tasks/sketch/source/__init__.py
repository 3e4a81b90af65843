"""Download: files of Quick, Draw! in three formats, and the sample of doodles.

It writes `data/sketch/raw` in the publishers' own formats. A change here fetches again, and retrains only where
those bytes change.
"""

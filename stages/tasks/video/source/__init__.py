"""Raw clips: the embedded sample, UCF-101, any folder or archive.

It writes `data/video/raw` in the publishers' own formats. A change here fetches again, and retrains only where
those bytes change.
"""

"""Download: the sample, a CSV or a Monash .tsf into `data/forecast/raw`.

It writes `data/forecast/raw` in the publishers' own formats. A change here fetches again, and retrains only where
those bytes change.
"""

"""Download: the sample, a CSV or a Monash .tsf into `data/forecast/raw`."""

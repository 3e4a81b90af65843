"""Raw clips: the embedded sample, UCF-101, any folder or archive."""

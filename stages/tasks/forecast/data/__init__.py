"""What the parts of `forecast` share: series by day, and the holidays they know."""

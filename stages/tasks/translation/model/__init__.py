"""The translators: a recurrent one and a Transformer, and their translations by search or sampling."""

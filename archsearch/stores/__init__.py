"""How does a folder live in a store (S3, GCS, whatever pyarrow or fsspec reaches) while it is written here?"""

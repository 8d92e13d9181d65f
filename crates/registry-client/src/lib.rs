//! Registries: finding them, proving who one is, and moving manifests and blobs, one request at a time.

//! The store's tests, while the rooms above it are rebuilt.

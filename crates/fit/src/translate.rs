//! Translation of one image encoder into the space of another.

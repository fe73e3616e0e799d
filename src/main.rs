//! The `udocker` executable.

fn main() {}

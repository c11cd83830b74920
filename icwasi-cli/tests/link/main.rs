//! The linker's tests, in one binary.

mod hostile;
mod inject;
mod library;
mod random;
mod refusals;
mod rewire;
mod support;

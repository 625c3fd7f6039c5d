//! Set-up, build, tests, demo and measurements of the project.
fn main() {}

//! Embeds the eBPF object.
fn main() {}

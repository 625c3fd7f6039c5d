//! lbd and lbadm as a library.

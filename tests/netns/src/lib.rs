//! Network-namespace topologies for whole-system tests, the demo and the replay of recordings.

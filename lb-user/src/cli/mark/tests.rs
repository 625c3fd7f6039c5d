//! Tests of the command line of marks.

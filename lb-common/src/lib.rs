//! The packet decision of the director.
#![no_std]

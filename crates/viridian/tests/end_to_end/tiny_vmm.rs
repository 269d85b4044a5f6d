// SPDX-License-Identifier: MIT OR Apache-2.0
//! The example runs and prints what its guest says.

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../../examples/tiny-vmm.rs"]
mod example;

#[test]
fn its_guest_says_what_the_msr_holds() {
    assert_eq!(example::run().expect("a run to the end"), "Hi!\n");
}

#[test]
fn it_is_tiny() {
    assert!(include_str!("../../examples/tiny-vmm.rs").lines().count() <= 80);
}

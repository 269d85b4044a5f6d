// SPDX-License-Identifier: MIT OR Apache-2.0
//! The house has floors (ARCHITECTURE.md): a room may use what stands below it and, on its own floor, what stands to its left.
//! This test reads what cargo knows and fails on any other import, and on a room that has no place.

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Floors from the ground up; each from left to right. A room may use every room before it in its own list, and all floors below.
const FLOORS: &[&[&str]] = &[
    &["state", "tlfs", "x86", "memory"],
    &["hypercall", "engine", "engine-soft"],
    &["hypervisor"],
    &["loader", "vmbus", "machine"],
    &["oracle", "guest-programs", "saved-state", "viridian"],
];

/// Rooms that may not use even what stands to their left or below, with what they may use.
const NARROW: &[(&str, &[&str])] = &[
    // The forms, the numbers, the architecture and the memory know nothing of one another.
    ("state", &[]),
    ("tlfs", &[]),
    ("x86", &[]),
    ("memory", &[]),
    // An engine knows nothing of the interface that is served on it.
    ("engine", &["state", "x86", "memory"]),
    ("engine-soft", &["state", "x86", "memory", "engine"]),
    // The calling conventions see memory and registers through traits.
    ("hypercall", &["tlfs", "x86"]),
    // The hypervisor runs on the contract, not on an engine.
    ("hypervisor", &["state", "tlfs", "x86", "memory", "hypercall", "engine"]),
    // What is put into a guest is made from files alone.
    ("loader", &["tlfs", "x86", "memory"]),
    ("guest-programs", &["tlfs", "x86"]),
    // For development: nothing uses it, and it knows processors only.
    ("oracle", &["memory", "engine", "engine-soft"]),
    // Saved VMs are files; of the rest only the page walker is of use.
    ("saved-state", &["x86"]),
];

const PREFIX: &str = "openviridian-";

fn position(room: &str) -> Option<(usize, usize)> {
    FLOORS
        .iter()
        .enumerate()
        .find_map(|(floor, rooms)| Some((floor, rooms.iter().position(|&name| name == room)?)))
}

fn may_use(room: &str, used: &str) -> bool {
    let (Some(room_place), Some(used_place)) = (position(room), position(used)) else { return false };
    let narrow = NARROW.iter().find(|(name, _)| *name == room);
    used_place < room_place && narrow.is_none_or(|(_, allowed)| allowed.contains(&used))
}

#[test]
fn no_room_imports_against_the_floors() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let mut wrong = Vec::new();
    let mut rooms = 0;
    for package in &metadata.packages {
        let name = package.name.as_str();
        // The command is the package `openviridian`, and stands on the roof as `viridian`.
        let room =
            if name == "openviridian" { "viridian" } else { name.strip_prefix(PREFIX).unwrap_or(name) };
        if room == "xtask" {
            continue;
        }
        rooms += 1;
        if position(room).is_none() {
            wrong.push(format!("{name} has no floor: give it a place in ARCHITECTURE.md and in this test"));
        }
        for dependency in &package.dependencies {
            let Some(used) = dependency.name.strip_prefix(PREFIX) else { continue };
            // Tests may look at more, but not at what stands above them.
            let allowed = match dependency.kind {
                DependencyKind::Development => position(used) < position(room),
                _ => may_use(room, used),
            };
            if !allowed {
                wrong.push(format!("{room} may not use {used}"));
            }
        }
    }
    assert!(rooms > 0, "no rooms found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rule_itself_tells_up_from_down() {
    assert!(may_use("hypervisor", "engine"));
    assert!(may_use("viridian", "engine-soft"));
    assert!(!may_use("engine", "hypervisor"));
    assert!(!may_use("hypervisor", "engine-soft"));
    assert!(!may_use("memory", "tlfs"));
    assert!(!may_use("vmbus", "machine"));
    assert!(!may_use("tlfs", "attic"));
}

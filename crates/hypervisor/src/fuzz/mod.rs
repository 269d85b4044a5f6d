// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzz targets: any bytes become what guests and their host program do to a partition with several VPs. Whatever it is, the
//! hypervisor goes on, and what it keeps stays consistent.

mod act;
mod source;
mod world;

use source::Source;
use world::World;

/// Longest sequence of acts. More of them only make an input that shows something harder to read.
const MOST_ACTS: usize = 400;

/// Makes a partition and does to it what `data` says. Panics if a rule is broken.
pub fn partition(data: &[u8]) {
    let mut source = Source::new(data);
    let mut world = World::new();
    for _ in 0..MOST_ACTS {
        if source.is_empty() {
            break;
        }
        world.act(&mut source);
        world.check();
    }
    world.close();
}

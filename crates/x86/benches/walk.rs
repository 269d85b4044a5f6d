// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a page walk costs: nanoseconds for a 4-level walk to a 4 KiB page, entries in the cache.
//! `cargo bench -p openviridian-x86`

use std::hint::black_box;
use std::time::Instant;
use x86::control::{Cr0, Cr4, Efer};
use x86::paging::{Access, AccessKind, PageTableMemory, Paging, PagingRegisters, Privilege};

struct Tables(Vec<u64>);

impl PageTableMemory for Tables {
    type Error = ();
    fn read_u32(&mut self, _: u64) -> Result<u32, ()> {
        Err(())
    }
    fn read_u64(&mut self, gpa: u64) -> Result<u64, ()> {
        self.0.get((gpa / 8) as usize).copied().ok_or(())
    }
    fn compare_exchange_u32(&mut self, _: u64, _: u32, _: u32) -> Result<bool, ()> {
        Err(())
    }
    fn compare_exchange_u64(&mut self, gpa: u64, _: u64, new: u64) -> Result<bool, ()> {
        self.0[(gpa / 8) as usize] = new;
        Ok(true)
    }
}

fn main() {
    // Tables at 0x1000, 0x2000, 0x3000; page tables at 0x4000 map 512 pages.
    let mut tables = Tables(vec![0; 5 * 512]);
    for (table, entry) in [(1, 0x2027), (2, 0x3027), (3, 0x4027)] {
        tables.0[table * 512] = entry;
    }
    for page in 0..512 {
        tables.0[4 * 512 + page] = (page as u64) << 12 | 0x67;
    }
    let paging = Paging::new(&PagingRegisters {
        cr0: Cr0::new().with_pe(true).with_pg(true).with_wp(true),
        cr3: 0x1000,
        cr4: Cr4::new().with_pae(true).with_smep(true).with_smap(true),
        efer: Efer::new().with_lma(true).with_nxe(true),
        ..PagingRegisters::default()
    });
    const WALKS: u64 = 10_000_000;
    for (name, access) in [
        ("read, user", Access::processor(AccessKind::Read, Privilege::User)),
        ("write, user", Access::processor(AccessKind::Write, Privilege::User)),
        ("debugger", Access::debugger()),
    ] {
        let start = Instant::now();
        let mut sum = 0;
        for walk in 0..WALKS {
            let gva = black_box(walk << 12 & 0x1F_F000);
            sum ^= paging.walk(&mut tables, gva, access).expect("everything is mapped").gpa;
        }
        black_box(sum);
        println!("{name:20} {:5.1} ns", start.elapsed().as_nanos() as f64 / WALKS as f64);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translation of virtual addresses for a parent (TLFS 9.3.4, 9.4.6).

use engine::SegmentName;
use tlfs::address::CacheType;
use tlfs::register::RegisterName as R;
use tlfs::tlb::TranslateGvaResultCode as Code;

use super::*;
use crate::{Translation, TranslationFlags};

/// Page tables of four levels: the top one here, each of the others in the page behind the last.
const TABLES: u64 = 0x10_0000;
/// Present, writable, user.
const FULL: u64 = 7;
const NO_EXECUTE: u64 = 1 << 63;

fn flags() -> TranslationFlags {
    TranslationFlags::new().with_validate_read(true)
}

fn entry(lab: &Lab, level: u64, index: u64) -> u64 {
    lab.space.read_value::<8>(ViewId(0), TABLES + 0x1000 * level + 8 * index, Rights::READ).unwrap()
}

fn set_entry(lab: &Lab, level: u64, index: u64, value: u64) {
    let gpa = TABLES + 0x1000 * level + 8 * index;
    lab.space.write_value::<8>(ViewId(0), gpa, value, Rights::WRITE).unwrap();
}

/// A VP in long mode with page tables: page n of the first 2 MiB is mapped to page n, but for what a test changes.
fn lab() -> Lab {
    let mut lab = Lab::new(2);
    for level in 0..3 {
        set_entry(&lab, level, 0, (TABLES + 0x1000 * (level + 1)) | FULL);
    }
    for page in 0..512 {
        set_entry(&lab, 3, page, (page << 12) | FULL);
    }
    let registers = lab.vps[0].registers();
    let mut control = registers.control();
    (control.cr0, control.cr3, control.cr4, control.efer) = (0x8001_0011, TABLES, 0x20, 0xD00);
    registers.set_control(control);
    lab
}

fn translate(lab: &mut Lab, page: u64, flags: TranslationFlags) -> Translation {
    lab.vps[0].translate(page, flags).unwrap()
}

/// B09.046, B09.039, B09.040: a page that is mapped; and what is asked has to make sense.
#[test]
fn a_page_is_found() {
    let mut lab = lab();
    let found = translate(&mut lab, 0x42, flags());
    assert_eq!((found.result_code, found.gpa_page), (Code::SUCCESS, 0x42));
    assert_eq!((found.cache_type, found.overlay_page), (CacheType::WRITE_BACK, false));
    for refused in [
        TranslationFlags::new(),
        TranslationFlags::new().with_privilege_exempt(true),
        flags().with_reserved_z(1),
        flags().with_input_vtl(0x11),
        flags().with_input_vtl(0x20),
    ] {
        assert_eq!(lab.vps[0].translate(0, refused), Err(HvStatus::INVALID_PARAMETER), "{refused:?}");
    }
    assert_eq!(translate(&mut lab, 0x42, flags().with_input_vtl(0x10)).result_code, Code::SUCCESS);
}

/// B09.041, B09.047: each condition that ends a walk is a result, not a refusal, with the exception that the access would have raised, or the page of the tables that was not there.
#[test]
fn walks_that_end_early() {
    let mut lab = lab();
    let write = flags().with_validate_write(true);
    let execute = flags().with_validate_execute(true);
    set_entry(&lab, 3, 1, 0);
    set_entry(&lab, 3, 2, 0x2000 | 5);
    set_entry(&lab, 3, 3, 0x3000 | FULL | NO_EXECUTE);
    set_entry(&lab, 3, 4, 0x4000 | FULL | 1 << 51);
    set_entry(&lab, 3, 5, 0x5000 | 3);
    set_entry(&lab, 2, 7, 0xF_0000_0000 | FULL);
    let cases = [
        (1, flags(), Code::PAGE_NOT_PRESENT),
        (2, flags(), Code::SUCCESS),
        (2, write, Code::PRIVILEGE_VIOLATION),
        (3, flags(), Code::SUCCESS),
        (3, execute, Code::PRIVILEGE_VIOLATION),
        (4, flags(), Code::INVALID_PAGE_TABLE_FLAGS),
        (5, flags(), Code::SUCCESS),
        (1 << 40, flags(), Code::PAGE_NOT_PRESENT),
    ];
    for (page, flags, code) in cases {
        let found = translate(&mut lab, page, flags);
        assert_eq!(found.result_code, code, "{page:#x} {flags:?}");
        let faults = code != Code::SUCCESS;
        assert_eq!(found.event.event.event_pending(), faults);
        if faults {
            assert_eq!((found.event.event.vector(), found.event.exception_parameter), (14, page << 12));
        }
    }
    let unmapped = translate(&mut lab, 7 << 9, flags());
    assert_eq!((unmapped.result_code, unmapped.gpa_page), (Code::GPA_UNMAPPED, 0xF0_0000));
}

/// B09.044: the privilege of the VP counts, unless the caller says that it does not.
#[test]
fn privilege_counts_unless_exempt() {
    let mut lab = lab();
    set_entry(&lab, 3, 5, 0x5000 | 3);
    let stack = lab.vps[0].registers().segment(SegmentName::Ss);
    let user = x86::segment::Segment { attributes: stack.attributes.with_dpl(3), ..stack };
    lab.vps[0].registers().set_segment(SegmentName::Ss, user);
    assert_eq!(translate(&mut lab, 5, flags()).result_code, Code::PRIVILEGE_VIOLATION);
    assert_eq!(translate(&mut lab, 5, flags().with_privilege_exempt(true)).result_code, Code::SUCCESS);
}

/// B09.047, B09.048: page tables that their rights keep from being read or written; and pages that are overlays.
#[test]
fn rights_of_page_tables_count() {
    let mut lab = lab();
    let protect = |lab: &Lab, rights| {
        let table = (TABLES >> 12) + 3;
        lab.space.batch(|batch| batch.protect(ViewId(0), table, 1, rights)).unwrap();
    };
    protect(&lab, Rights::NONE);
    let unreadable = translate(&mut lab, 5, flags());
    assert_eq!((unreadable.result_code, unreadable.gpa_page), (Code::GPA_NO_READ_ACCESS, (TABLES >> 12) + 3));
    protect(&lab, Rights::READ);
    assert_eq!(translate(&mut lab, 5, flags()).result_code, Code::SUCCESS);
    let marks = flags().with_set_page_table_bits(true);
    assert_eq!(translate(&mut lab, 5, marks).result_code, Code::GPA_NO_WRITE_ACCESS);
    protect(&lab, Rights::ALL);
    lab.enable_hypercalls(0x6000);
    let page = translate(&mut lab, 6, flags());
    assert_eq!((page.result_code, page.overlay_page), (Code::SUCCESS, true));
    let write = flags().with_validate_write(true);
    let illegal = translate(&mut lab, 6, write);
    assert_eq!((illegal.result_code, illegal.gpa_page), (Code::GPA_ILLEGAL_OVERLAY_ACCESS, 6));
}

/// B09.043: accessed and dirty bits are set if the caller wants that, dirty only for a write; otherwise nothing is.
#[test]
fn page_table_bits_are_set_on_request() {
    const ACCESSED: u64 = 0x20;
    const DIRTY: u64 = 0x40;
    let mut lab = lab();
    let bits = |lab: &Lab| (entry(lab, 0, 0) & ACCESSED, entry(lab, 3, 5) & (ACCESSED | DIRTY));
    let write = flags().with_validate_write(true);
    translate(&mut lab, 5, write);
    assert_eq!(bits(&lab), (0, 0));
    translate(&mut lab, 5, flags().with_set_page_table_bits(true));
    assert_eq!(bits(&lab), (ACCESSED, ACCESSED));
    translate(&mut lab, 5, write.with_set_page_table_bits(true));
    assert_eq!(bits(&lab), (ACCESSED, ACCESSED | DIRTY));
    // What a walk set before it ended stays.
    set_entry(&lab, 2, 1, 0);
    set_entry(&lab, 0, 0, (TABLES + 0x1000) | FULL);
    let missing = translate(&mut lab, 0x205, flags().with_set_page_table_bits(true));
    assert_eq!(missing.result_code, Code::PAGE_NOT_PRESENT);
    assert_eq!(entry(&lab, 0, 0) & ACCESSED, ACCESSED);
}

/// B09.048, B09.013: the cache type is what PAT, MTRRs and CR0.CD make together; without paging, what MTRRs say.
#[test]
fn cache_types() {
    let mut lab = lab();
    set_entry(&lab, 3, 5, 0x5000 | FULL | 1 << 3);
    set_entry(&lab, 3, 6, 0x6000 | FULL | 1 << 4);
    let kind = |lab: &mut Lab, page| translate(lab, page, flags()).cache_type;
    assert_eq!(kind(&mut lab, 5), CacheType::WRITE_THROUGH);
    assert_eq!(kind(&mut lab, 6), CacheType::UNCACHED);
    // The first 512 KiB are one fixed range register of eight types.
    lab.vps[0].set_register(R::MTRR_FIX64K00000, 0x0606_0606_0606_0601u64.into()).unwrap();
    assert_eq!(kind(&mut lab, 1), CacheType::WRITE_COMBINING);
    assert_eq!(kind(&mut lab, 0x11), CacheType::WRITE_BACK);
    let mut control = lab.vps[0].registers().control();
    control.cr0 |= 1 << 30;
    lab.vps[0].registers().set_control(control);
    assert_eq!(kind(&mut lab, 0x11), CacheType::UNCACHED);
    (control.cr0, control.efer) = (0x11, 0);
    lab.vps[0].registers().set_control(control);
    assert_eq!(
        [1, 0x11].map(|page| kind(&mut lab, page)),
        [CacheType::WRITE_COMBINING, CacheType::WRITE_BACK]
    );
}

/// B09.017: each type has its number, which is the processor's.
#[test]
fn cache_types_have_their_numbers() {
    let mut lab = lab();
    lab.vps[0].set_register(R::PAT, 0x0006_0501_0004u64.into()).unwrap();
    let numbers = (0..6u64).map(|index| {
        let bits = (index & 1) << 3 | (index >> 1 & 1) << 4 | (index >> 2) << 7;
        set_entry(&lab, 3, 8 + index, (8 + index) << 12 | FULL | bits);
        translate(&mut lab, 8 + index, flags()).cache_type.0
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [4, 0, 1, 5, 6, 0]);
}

/// B09.049: the walk is that of the VP's mode: two levels of four bytes, with large pages if CR4.PSE is set; three with PAE, the first of them in four entries; four in long mode. What the VP itself
/// remembers does not count: an entry that changes counts at once.
#[test]
fn the_walk_is_that_of_the_mode() {
    const GVA_PAGE: u64 = (3 << 30 | 5 << 22 | 7 << 12) >> 12;
    let mut lab = lab();
    let mode = |lab: &mut Lab, root: u64, cr4: u64, efer: u64| {
        let registers = lab.vps[0].registers();
        let mut control = registers.control();
        (control.cr0, control.cr3, control.cr4, control.efer) = (0x8001_0011, root, cr4, efer);
        registers.set_control(control);
    };
    let find = |lab: &mut Lab, page| {
        let found = translate(lab, page, flags());
        (found.result_code, found.gpa_page)
    };
    // Four bytes an entry: index 773 of the directory, 7 of the table.
    const ROOT_32: u64 = 0x20_0000;
    lab.write_u32(ROOT_32 + 4 * 773, 0x20_1000 | 7);
    lab.write_u32(0x20_1000 + 4 * 7, 0x0012_3000 | 7);
    lab.write_u32(ROOT_32 + 4 * 774, 0x0080_0000 | 0x87);
    mode(&mut lab, ROOT_32, 0, 0);
    assert_eq!(find(&mut lab, GVA_PAGE), (Code::SUCCESS, 0x123));
    assert_eq!(find(&mut lab, GVA_PAGE + 1).0, Code::PAGE_NOT_PRESENT);
    // A large page is a table unless CR4.PSE is set.
    let large = GVA_PAGE - 7 + 1024;
    assert_eq!(find(&mut lab, large + 9).0, Code::PAGE_NOT_PRESENT);
    mode(&mut lab, ROOT_32, 1 << 4, 0);
    assert_eq!(find(&mut lab, large + 9), (Code::SUCCESS, 0x809));
    // Addresses have 32 bits.
    assert_eq!(find(&mut lab, 1 << 20 | GVA_PAGE).0, Code::PAGE_NOT_PRESENT);
    lab.write_u32(0x20_1000 + 4 * 7, 0x0012_4000 | 7);
    assert_eq!(find(&mut lab, GVA_PAGE), (Code::SUCCESS, 0x124), "no coherence with what the VP remembers");

    // Eight bytes an entry: entry 3 of the pointers, 10 of the directory, 7 of the table. The pointers are 32 bytes anywhere.
    let set = |lab: &Lab, gpa: u64, value: u64| {
        lab.space.write_value::<8>(ViewId(0), gpa, value, Rights::WRITE).unwrap();
    };
    const POINTERS: u64 = 0x21_0020;
    set(&lab, POINTERS + 8 * 3, 0x21_1000 | 1);
    set(&lab, 0x21_1000 + 8 * 10, 0x21_2000 | FULL);
    set(&lab, 0x21_2000 + 8 * 7, 0x15_6000 | FULL);
    set(&lab, 0x21_1000 + 8 * 11, 0xA0_0000 | FULL | 1 << 7);
    mode(&mut lab, POINTERS, 1 << 5, 0);
    assert_eq!(find(&mut lab, GVA_PAGE), (Code::SUCCESS, 0x156));
    assert_eq!(find(&mut lab, GVA_PAGE - 7 + 512 + 3), (Code::SUCCESS, 0xA03));
    assert_eq!(find(&mut lab, GVA_PAGE & 0x3_FFFF).0, Code::PAGE_NOT_PRESENT, "another pointer");
    assert_eq!(find(&mut lab, 1 << 20 | GVA_PAGE).0, Code::PAGE_NOT_PRESENT);

    // Four levels, by an address whose four indexes differ: 1, 2, 3, 4.
    const DEEP: u64 = (1 << 39 | 2 << 30 | 3 << 21 | 4 << 12) >> 12;
    for (gpa, value) in [
        (0x22_0000 + 8, 0x22_1000 | FULL),
        (0x22_1000 + 16, 0x22_2000 | FULL),
        (0x22_2000 + 24, 0x22_3000 | FULL),
        (0x22_3000 + 32, 0x17_8000 | FULL),
    ] {
        set(&lab, gpa, value);
    }
    mode(&mut lab, 0x22_0000, 1 << 5, 0x500);
    assert_eq!(find(&mut lab, DEEP), (Code::SUCCESS, 0x178));
    assert_eq!(
        find(&mut lab, DEEP & 0x7FF_FFFF).0,
        Code::PAGE_NOT_PRESENT,
        "another entry of the fourth level"
    );
}

/// B09.042: without paging every page is itself.
#[test]
fn without_paging_nothing_fails() {
    let mut lab = Lab::new(1);
    let mut control = lab.vps[0].registers().control();
    (control.cr0, control.efer) = (0x11, 0);
    lab.vps[0].registers().set_control(control);
    let write = flags().with_validate_write(true).with_validate_execute(true);
    let found = translate(&mut lab, 0xF_0000, write);
    assert_eq!((found.result_code, found.gpa_page), (Code::SUCCESS, 0xF_0000));
}

/// B09.009, B09.011, B09.012, B09.027, B09.045: a parent that is not done with a translation keeps other VPs from flushing it; they wait at the call.
#[test]
fn a_flush_waits_while_it_is_inhibited() {
    let mut lab = lab();
    lab.enable_hypercalls(0x6000);
    set_entry(&lab, 3, 1, 0);
    let missing = translate(&mut lab, 1, flags().with_tlb_flush_inhibit(true));
    assert_eq!(missing.result_code, Code::PAGE_NOT_PRESENT);
    assert_eq!(lab.vps[0].register(R::INTERCEPT_SUSPEND), Ok(0u64.into()), "only if it succeeds");
    translate(&mut lab, 5, flags().with_tlb_flush_inhibit(true));
    let inhibited = lab.vps[0].register(R::INTERCEPT_SUSPEND).unwrap();
    assert_eq!(inhibited.low, 2);
    let flush = InputValue::new().with_call_code(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE);
    for (index, word) in [0u64, 3, 0].into_iter().enumerate() {
        lab.space.write_value::<8>(ViewId(0), 0x8000 + 8 * index as u64, word, Rights::WRITE).unwrap();
    }
    let prepare = move |state: &mut VpState| {
        state.gprs[Gpr::Rcx as usize] = flush.into_bits();
        state.gprs[Gpr::Rdx as usize] = 0x8000;
    };
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    lab.engine.push_with(1, exit, prepare);
    let rip = lab.vps[1].registers().rip();
    assert!(matches!(lab.vps[1].run(None), VpExit::Idle { .. }));
    assert_eq!(lab.vps[1].registers().rip(), rip, "it stands before the call");
    assert!(lab.partition.vp(0).state().flush.is_empty());
    lab.vps[0].set_register(R::INTERCEPT_SUSPEND, 0u64.into()).unwrap();
    lab.engine.push(1, exit);
    lab.pass(1);
    assert!(!lab.partition.vp(0).state().flush.is_empty());
    let flushes = lab.vps[1].statistics().unwrap().hypercalls(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE);
    assert_eq!(flushes, 1, "a call that waits is one call");
}

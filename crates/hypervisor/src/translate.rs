// SPDX-License-Identifier: MIT OR Apache-2.0
//! Translation of guest-virtual addresses on behalf of a parent (TLFS 9.3.4, 9.4.6): what HvCallTranslateVirtualAddress and its extended form do.

use memory::{AccessError, AccessErrorCause, PAGE_SHIFT, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::address::CacheType;
use tlfs::register::{PendingEvent, PendingExceptionEvent};
use tlfs::tlb::TranslateGvaResultCode as Code;
use tlfs::vsm::{InputVtl, Vtl};
use x86::control::{Cr0, Cr4, Efer, Rflags};
use x86::exception::PageFaultErrorCode;
use x86::memory_type::{MemoryType, Pat};
use x86::paging::{
    Access, AccessKind, PageTableMemory, Paging, PagingMode, PagingRegisters, Privilege, WalkError,
    is_canonical, load_pdptes,
};

use crate::partition::view_of;
use crate::vp::Vp;

/// What to check and do (TLFS 9.3.4).
pub use tlfs::tlb::TranslateGvaControlFlags as TranslationFlags;

const PAGE_FAULT: u16 = 14;

/// Where a virtual page leads, or why nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Outcome.
    pub result_code: Code,
    /// Guest-physical page number: of the page, or of the page that could not be accessed on the way; else 0.
    pub gpa_page: u64,
    /// How the VP would cache it; meaningful if the outcome is success.
    pub cache_type: CacheType,
    /// The page is one of the hypervisor's own.
    pub overlay_page: bool,
    /// The exception that the access would raise, as the extended call reports it; nothing pending if none.
    pub event: PendingExceptionEvent,
}

const NO_EVENT: PendingExceptionEvent =
    PendingExceptionEvent { event: PendingEvent::new(), exception_parameter: 0 };

impl Translation {
    const fn failed(result_code: Code, gpa_page: u64) -> Self {
        let cache_type = CacheType::UNCACHED;
        Self { result_code, gpa_page, cache_type, overlay_page: false, event: NO_EVENT }
    }

    fn page_fault(code: PageFaultErrorCode, gva: u64) -> Self {
        let result_code = match (code.present(), code.reserved()) {
            (false, _) => Code::PAGE_NOT_PRESENT,
            (true, true) => Code::INVALID_PAGE_TABLE_FLAGS,
            (true, false) => Code::PRIVILEGE_VIOLATION,
        };
        let event = PendingEvent::new()
            .with_event_pending(true)
            .with_deliver_error_code(true)
            .with_vector(PAGE_FAULT)
            .with_error_code(code.into_bits());
        let event = PendingExceptionEvent { event, exception_parameter: gva };
        Self { event, ..Self::failed(result_code, 0) }
    }
}

/// Page tables of a guest, as its rights let them be accessed.
struct Tables<'a> {
    space: &'a Space,
    view: ViewId,
}

impl PageTableMemory for Tables<'_> {
    type Error = AccessError;

    fn read_u32(&mut self, gpa: u64) -> Result<u32, AccessError> {
        Ok(self.space.read_value::<4>(self.view, gpa, Rights::READ)? as u32)
    }

    fn read_u64(&mut self, gpa: u64) -> Result<u64, AccessError> {
        self.space.read_value::<8>(self.view, gpa, Rights::READ)
    }

    fn compare_exchange_u32(&mut self, gpa: u64, old: u32, new: u32) -> Result<bool, AccessError> {
        let (expected, new) = (old.into(), new.into());
        let before = self.space.compare_exchange::<4>(self.view, gpa, expected, new, Rights::WRITE)?;
        Ok(before == expected)
    }

    fn compare_exchange_u64(&mut self, gpa: u64, old: u64, new: u64) -> Result<bool, AccessError> {
        Ok(self.space.compare_exchange::<8>(self.view, gpa, old, new, Rights::WRITE)? == old)
    }
}

/// Right that an access of this kind needs of an overlay page.
const fn right(kind: AccessKind) -> Rights {
    match kind {
        AccessKind::Read => Rights::READ,
        AccessKind::Write => Rights::WRITE,
        AccessKind::Execute => Rights::EXECUTE,
    }
}

pub(crate) const fn cache_type(memory_type: MemoryType) -> CacheType {
    match memory_type {
        MemoryType::Uncacheable | MemoryType::UncacheableMinus => CacheType::UNCACHED,
        MemoryType::WriteCombining => CacheType::WRITE_COMBINING,
        MemoryType::WriteThrough => CacheType::WRITE_THROUGH,
        MemoryType::WriteProtected => CacheType::WRITE_PROTECTED,
        MemoryType::WriteBack => CacheType::WRITE_BACK,
    }
}

impl Vp {
    /// Translates virtual page number `page` as the VP's registers and page tables say now (TLFS 9.4.6). The VP's own translations may be others: no
    /// coherence with them is promised.
    ///
    /// # Errors
    /// INVALID_PARAMETER if no kind of access is to be checked, a reserved bit is set, or the VTL does not exist.
    pub fn translate(&mut self, page: u64, flags: TranslationFlags) -> Result<Translation, HvStatus> {
        let vtl = InputVtl::from_bits(flags.input_vtl());
        let checked = [
            (flags.validate_read(), AccessKind::Read),
            (flags.validate_write(), AccessKind::Write),
            (flags.validate_execute(), AccessKind::Execute),
        ];
        let kinds = || checked.into_iter().filter(|&(wanted, _)| wanted).map(|(_, kind)| kind);
        let exists = !vtl.use_target_vtl() || vtl.target_vtl() == Vtl::VTL0.0;
        if flags.reserved_z() != 0 || vtl.reserved_z() != 0 || !exists || kinds().next().is_none() {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let translation = self.walk(page << PAGE_SHIFT, flags, kinds);
        if flags.tlb_flush_inhibit() && translation.result_code == Code::SUCCESS {
            let suspend = self.shared().state().intercept_suspend;
            self.partition.set_intercept_suspend(self.index, suspend.with_tlb_flush_inhibit(true));
        }
        Ok(translation)
    }

    fn walk<K: Iterator<Item = AccessKind>>(
        &self,
        gva: u64,
        flags: TranslationFlags,
        kinds: impl Fn() -> K,
    ) -> Translation {
        let space = &**self.partition.space();
        let view = view_of(self.active_vtl);
        let mut tables = Tables { space, view };
        let failed = |error: AccessError, gpa: u64, write: bool| {
            let page = gpa >> PAGE_SHIFT;
            let code = match error.cause {
                AccessErrorCause::Unmapped | AccessErrorCause::HostFault => Code::GPA_UNMAPPED,
                AccessErrorCause::Denied { .. } if self.partition.is_overlay(self.active_vtl, page) => {
                    Code::GPA_ILLEGAL_OVERLAY_ACCESS
                }
                AccessErrorCause::Denied { .. } if write => Code::GPA_NO_WRITE_ACCESS,
                AccessErrorCause::Denied { .. } => Code::GPA_NO_READ_ACCESS,
            };
            Translation::failed(code, page)
        };

        let control = self.engine.control();
        let width = space.address_bits() as u8;
        let registers = PagingRegisters {
            cr0: Cr0::from_bits(control.cr0),
            cr3: control.cr3,
            cr4: Cr4::from_bits(control.cr4),
            efer: Efer::from_bits(control.efer),
            pdptes: [0; 4],
            physical_address_width: width,
            has_1g_pages: self.partition.processor().has_1g_pages(),
        };
        let mut paging = Paging::new(&registers);
        if paging.mode() == PagingMode::Pae {
            let pdptes = match load_pdptes(&mut tables, control.cr3, width) {
                // Reserved bits would have kept CR3 from being loaded.
                Ok(pdptes) => pdptes.unwrap_or_default(),
                Err((error, gpa)) => return failed(error, gpa, false),
            };
            paging = Paging::new(&PagingRegisters { pdptes, ..registers });
        }
        let in_range = match paging.mode() {
            PagingMode::None => true,
            PagingMode::Bits32 | PagingMode::Pae => gva <= u64::from(u32::MAX),
            PagingMode::Level4 => is_canonical(gva, 48),
            PagingMode::Level5 => is_canonical(gva, 57),
        };
        if !in_range {
            return Translation::page_fault(PageFaultErrorCode::new(), gva);
        }
        let ac = Rflags::from_bits(self.engine.rflags()).ac();
        let privilege = match self.engine.cpl() {
            3 if !flags.privilege_exempt() => Privilege::User,
            _ => Privilege::Supervisor { ac },
        };
        let mut translated = None;
        for kind in kinds() {
            // What one access does after another is what they do together: the bits that they set add up.
            let access = Access {
                set_accessed_dirty: flags.set_page_table_bits(),
                ..Access::processor(kind, privilege)
            };
            match paging.walk(&mut tables, gva, access) {
                Ok(translation) => translated = Some(translation),
                Err(WalkError::PageFault(code)) => return Translation::page_fault(code, gva),
                Err(WalkError::Memory { error, gpa, write }) => return failed(error, gpa, write),
            }
        }
        let Some(translated) = translated else { return Translation::failed(Code::PAGE_NOT_PRESENT, 0) };
        let gpa_page = translated.gpa >> PAGE_SHIFT;
        let overlay_page = self.partition.is_overlay(self.active_vtl, gpa_page);
        let paged = paging.mode() != PagingMode::None;
        if overlay_page && paged {
            let have = space.resolve(view, gpa_page).map_or(Rights::NONE, |page| page.rights);
            if kinds().any(|kind| !have.contains(right(kind))) {
                return Translation::failed(Code::GPA_ILLEGAL_OVERLAY_ACCESS, gpa_page);
            }
        }
        let from_mtrr = self.processor_msrs.memory_type(translated.gpa, width.into());
        let memory_type = if registers.cr0.cd() {
            MemoryType::Uncacheable
        } else if paged {
            let pat = Pat::from_bits(self.engine.msrs().pat).unwrap_or_default();
            MemoryType::effective(from_mtrr, pat.memory_type(translated.pat_index))
        } else {
            from_mtrr
        };
        Translation {
            result_code: Code::SUCCESS,
            gpa_page,
            cache_type: cache_type(memory_type),
            overlay_page,
            event: NO_EVENT,
        }
    }
}

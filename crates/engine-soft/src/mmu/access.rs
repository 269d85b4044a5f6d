// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses with all checks: through the TLB if it allows them, else by a walk of the page tables, else by the hypervisor.

use engine::{ExitReason, MemoryAccess, MemoryAccessKind, MemoryExitCause};
use memory::Rights;
use x86::exception::Exception;
use x86::paging::{Access, AccessKind, PageSize, Privilege, Translation, WalkError, load_pdptes};

use super::host;
use super::physical::{PhysicalPage, Tables};
use crate::cpu::Cpu;
use crate::stop::Stop;

/// A part of an access that lies in one page.
#[derive(Clone, Copy)]
struct Part {
    linear: u64,
    gpa: u64,
    size: usize,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// Host memory that may be touched directly; if `watched`, writes have to be told.
    Host { address: u64, page: Option<PhysicalPage> },
    /// A page of a host program.
    Lent(PhysicalPage),
    /// Nothing there, or no right.
    Elsewhere(MemoryExitCause),
}

const fn bytes_to_page_end(linear: u64) -> usize {
    0x1000 - (linear & 0xFFF) as usize
}

impl Cpu {
    /// Translates an address as the processor does: rights checked, accessed and dirty flags set.
    ///
    /// # Errors
    /// #PF, or an exit of the page walk.
    pub fn translate(
        &mut self,
        linear: u64,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<Translation, Stop> {
        let paging = self.paging;
        let user = matches!(privilege, Privilege::User);
        let mut tables = Tables { cpu: self, linear, user };
        match paging.walk(&mut tables, linear, Access::processor(kind, privilege)) {
            Ok(translation) => {
                if translation.page_size != PageSize::Size4K {
                    self.mmu.tlb.note_large(linear);
                }
                Ok(translation)
            }
            Err(WalkError::PageFault(code)) => Err(Stop::page_fault(code.into_bits(), linear)),
            Err(WalkError::Memory { error, .. }) => Err(error),
        }
    }

    /// Reads the PDPTEs for a CR3 value; `None` if a reserved bit is set in one.
    ///
    /// # Errors
    /// An exit of the access.
    pub fn read_pdptes(&mut self, cr3: u64) -> Result<Option<[u64; 4]>, Stop> {
        let width = self.space.address_bits() as u8;
        let mut tables = Tables { cpu: self, linear: 0, user: false };
        load_pdptes(&mut tables, cr3, width).map_err(|(stop, _)| stop)
    }

    /// Finds where the part of an access in one page goes, and enters it into the TLB if it may stay there.
    fn place(
        &mut self,
        linear: u64,
        size: usize,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<Part, Stop> {
        let write = matches!(kind, AccessKind::Write);
        let data = !matches!(kind, AccessKind::Execute);
        if data && let Some(address) = self.mmu.tlb.look_up(linear, size, write, privilege) {
            return Ok(Part { linear, gpa: 0, size, place: Place::Host { address, page: None } });
        }
        let gpa = self.translate(linear, kind, privilege)?.gpa;
        let part = |place| Ok(Part { linear, gpa, size, place });
        let Some(page) = self.physical_page(gpa >> 12) else {
            return part(Place::Elsewhere(MemoryExitCause::Unmapped));
        };
        let needed = match (kind, privilege) {
            (AccessKind::Read, _) => Rights::READ,
            (AccessKind::Write, _) => Rights::WRITE,
            (AccessKind::Execute, Privilege::User) => Rights::USER_EXECUTE,
            (AccessKind::Execute, _) => Rights::KERNEL_EXECUTE,
        };
        if !page.rights.contains(needed) {
            return part(Place::Elsewhere(MemoryExitCause::Rights(page.rights)));
        }
        if page.host == 0 {
            return part(Place::Lent(page));
        }
        let watched = write && self.object(page.object).is_watched(page.page);
        if data {
            // A write translation has the dirty flag set and, in every paging mode, the right to read.
            let read = page.rights.contains(Rights::READ);
            self.mmu.tlb.fill(linear, page.host, read, write && read && !watched, privilege);
        }
        part(Place::Host { address: page.host + (gpa & 0xFFF), page: watched.then_some(page) })
    }

    /// The parts of an access of up to 4096 bytes: one, or two if it crosses a page.
    fn places(
        &mut self,
        linear: u64,
        size: usize,
        kind: AccessKind,
        privilege: Privilege,
    ) -> Result<(Part, Option<Part>), Stop> {
        let room = bytes_to_page_end(linear);
        if size <= room {
            return Ok((self.place(linear, size, kind, privilege)?, None));
        }
        let second = self.wrap_linear(linear.wrapping_add(room as u64));
        let first = self.place(linear, room, kind, privilege)?;
        Ok((first, Some(self.place(second, size - room, kind, privilege)?)))
    }

    /// Linear addresses outside 64-bit mode have 32 bits.
    fn wrap_linear(&self, linear: u64) -> u64 {
        if self.is_long_mode() { linear } else { linear & 0xFFFF_FFFF }
    }

    fn ask(
        &mut self,
        part: &Part,
        at: usize,
        size: usize,
        kind: MemoryAccessKind,
        cause: MemoryExitCause,
        privilege: Privilege,
    ) -> Result<u64, Stop> {
        self.external(ExitReason::Memory(MemoryAccess {
            gpa: part.gpa + at as u64,
            gva: Some(part.linear + at as u64),
            size: size as u8,
            kind,
            cause,
            page_walk: false,
            user: matches!(privilege, Privilege::User),
        }))
    }

    fn read_part(&mut self, part: &Part, buffer: &mut [u8], privilege: Privilege) -> Result<(), Stop> {
        let cause = match part.place {
            Place::Host { address, .. } => {
                // SAFETY: the part lies in one page of guest memory that the space maps for reading.
                unsafe { host::copy_from(address, buffer) };
                return Ok(());
            }
            Place::Lent(page) => {
                let offset = page.page << 12 | part.gpa & 0xFFF;
                if self.object(page.object).read(offset, buffer).is_ok() {
                    return Ok(());
                }
                MemoryExitCause::HostFault
            }
            Place::Elsewhere(cause) => cause,
        };
        let mut at = 0;
        for piece in buffer.chunks_mut(8) {
            let value = self.ask(part, at, piece.len(), MemoryAccessKind::Read, cause, privilege)?;
            piece.copy_from_slice(&value.to_le_bytes()[..piece.len()]);
            at += piece.len();
        }
        Ok(())
    }

    /// The writes of a part that the hypervisor does; nothing for host memory.
    fn write_elsewhere(&mut self, part: &Part, bytes: &[u8], privilege: Privilege) -> Result<(), Stop> {
        let cause = match part.place {
            Place::Host { .. } => return Ok(()),
            Place::Lent(page) => {
                let offset = page.page << 12 | part.gpa & 0xFFF;
                if self.object(page.object).write(offset, bytes).is_ok() {
                    return Ok(());
                }
                MemoryExitCause::HostFault
            }
            Place::Elsewhere(cause) => cause,
        };
        for (index, piece) in bytes.chunks(8).enumerate() {
            let mut value = [0; 8];
            value[..piece.len()].copy_from_slice(piece);
            let kind = MemoryAccessKind::Write(u64::from_le_bytes(value));
            self.ask(part, 8 * index, piece.len(), kind, cause, privilege)?;
        }
        Ok(())
    }

    fn write_host(&mut self, part: &Part, bytes: &[u8]) {
        if let Place::Host { address, page } = part.place {
            // SAFETY: the part lies in one page of guest memory that the space maps for writing.
            self.storing(part, page, || unsafe { host::copy_to(address, bytes) });
        }
    }

    /// Does a store to a part, with all that it takes if the page is watched.
    fn storing<R>(&mut self, part: &Part, watched: Option<PhysicalPage>, store: impl FnOnce() -> R) -> R {
        match watched {
            Some(page) => {
                self.storing_to_watched(page, (part.linear & 0xFFF) as u32, part.size as u32, store)
            }
            None => store(),
        }
    }

    /// #AC for an operand that is not aligned, where CR0.AM and RFLAGS.AC ask for it at CPL 3. While they do, the fast path sees an empty TLB.
    ///
    /// # Errors
    /// #AC.
    pub(crate) fn check_alignment(&self, linear: u64, size: usize, privilege: Privilege) -> Result<(), Stop> {
        let explicit = matches!(privilege, Privilege::User);
        if explicit && self.checks_alignment() && !linear.is_multiple_of(size as u64) {
            return Err(Stop::exception(Exception::AlignmentCheck));
        }
        Ok(())
    }

    /// Reads 1, 2, 4 or 8 bytes at a linear address, zero-extended.
    ///
    /// # Errors
    /// #AC, #PF or an exit.
    pub fn read(&mut self, linear: u64, size: usize, privilege: Privilege) -> Result<u64, Stop> {
        self.check_alignment(linear, size, privilege)?;
        self.read_unaligned(linear, size, privilege)
    }

    /// As [`Cpu::read`], of an operand that need not be aligned in any mode.
    ///
    /// # Errors
    /// #PF or an exit.
    pub(crate) fn read_unaligned(
        &mut self,
        linear: u64,
        size: usize,
        privilege: Privilege,
    ) -> Result<u64, Stop> {
        let (first, second) = self.places(linear, size, AccessKind::Read, privilege)?;
        if let (Part { place: Place::Host { address, .. }, .. }, None) = (&first, &second) {
            // SAFETY: the access lies in one page of guest memory that the space maps for reading.
            return Ok(unsafe { host::load(*address, size) });
        }
        let mut bytes = [0; 8];
        self.read_part(&first, &mut bytes[..first.size], privilege)?;
        if let Some(second) = second {
            self.read_part(&second, &mut bytes[first.size..size], privilege)?;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes the low 1, 2, 4 or 8 bytes of a value at a linear address.
    ///
    /// # Errors
    /// #AC, #PF or an exit; nothing was written then.
    pub fn write(&mut self, linear: u64, size: usize, value: u64, privilege: Privilege) -> Result<(), Stop> {
        self.check_alignment(linear, size, privilege)?;
        self.write_unaligned(linear, size, value, privilege)
    }

    /// As [`Cpu::write`], of an operand that need not be aligned in any mode.
    ///
    /// # Errors
    /// #PF or an exit; nothing was written then.
    pub(crate) fn write_unaligned(
        &mut self,
        linear: u64,
        size: usize,
        value: u64,
        privilege: Privilege,
    ) -> Result<(), Stop> {
        let (first, second) = self.places(linear, size, AccessKind::Write, privilege)?;
        if let (Part { place: Place::Host { address, page }, .. }, None) = (&first, &second) {
            // SAFETY: the access lies in one page of guest memory that the space maps for writing.
            self.storing(&first, *page, || unsafe { host::store(*address, size, value) });
            return Ok(());
        }
        self.write_parts(&first, second.as_ref(), &value.to_le_bytes()[..size], privilege)
    }

    fn write_parts(
        &mut self,
        first: &Part,
        second: Option<&Part>,
        bytes: &[u8],
        privilege: Privilege,
    ) -> Result<(), Stop> {
        let (head, tail) = bytes.split_at(first.size.min(bytes.len()));
        // What the hypervisor does comes first: as long as it has not, nothing may be stored.
        self.write_elsewhere(first, head, privilege)?;
        if let Some(second) = second {
            self.write_elsewhere(second, tail, privilege)?;
        }
        self.write_host(first, head);
        if let Some(second) = second {
            self.write_host(second, tail);
        }
        Ok(())
    }

    /// Reads up to 4096 bytes at a linear address.
    ///
    /// # Errors
    /// #PF or an exit.
    pub fn read_bytes(&mut self, linear: u64, buffer: &mut [u8], privilege: Privilege) -> Result<(), Stop> {
        let (first, second) = self.places(linear, buffer.len(), AccessKind::Read, privilege)?;
        let (head, tail) = buffer.split_at_mut(first.size);
        self.read_part(&first, head, privilege)?;
        match second {
            Some(second) => self.read_part(&second, tail, privilege),
            None => Ok(()),
        }
    }

    /// Writes up to 4096 bytes at a linear address.
    ///
    /// # Errors
    /// #PF or an exit; nothing was written then.
    pub fn write_bytes(&mut self, linear: u64, bytes: &[u8], privilege: Privilege) -> Result<(), Stop> {
        let (first, second) = self.places(linear, bytes.len(), AccessKind::Write, privilege)?;
        self.write_parts(&first, second.as_ref(), bytes, privilege)
    }

    /// Raises the #PF that a write of up to 4096 bytes would raise, and stores nothing. Devices are not asked.
    ///
    /// # Errors
    /// #PF, or an exit of the page walk.
    pub fn probe_write(&mut self, linear: u64, bytes: usize, privilege: Privilege) -> Result<(), Stop> {
        self.places(linear, bytes, AccessKind::Write, privilege).map(|_| ())
    }

    /// Replaces `expected` by `new` in 1, 2, 4 or 8 bytes as one locked access and gives the value that was there.
    /// On a device, and across pages, it is a read and then a write: across pages of memory, for a processor that is alone.
    ///
    /// # Errors
    /// #PF or an exit; nothing was written then.
    pub fn compare_exchange(
        &mut self,
        linear: u64,
        size: usize,
        expected: u64,
        new: u64,
        privilege: Privilege,
    ) -> Result<u64, Stop> {
        let (first, second) = self.places(linear, size, AccessKind::Write, privilege)?;
        if let (Part { place: Place::Host { address, page }, .. }, None) = (&first, &second) {
            // SAFETY: the access lies in one page of guest memory that the space maps for writing.
            let replace = || unsafe { host::compare_exchange(*address, size, expected, new) };
            return Ok(self.storing(&first, *page, replace));
        }
        let value = self.read(linear, size, privilege)?;
        self.write(linear, size, if value == expected { new } else { value }, privilege)?;
        Ok(value)
    }

    /// The host address of bytes in one page, if they are plain memory that need not be told of.
    ///
    /// # Errors
    /// #PF, or an exit of the page walk.
    pub(crate) fn plain_memory(
        &mut self,
        linear: u64,
        bytes: usize,
        write: bool,
        privilege: Privilege,
    ) -> Result<Option<u64>, Stop> {
        let kind = if write { AccessKind::Write } else { AccessKind::Read };
        match self.place(linear, bytes, kind, privilege)?.place {
            Place::Host { address, page: None } => Ok(Some(address)),
            _ => Ok(None),
        }
    }

    /// Whether any of an access that is about to write goes to something else than guest memory of ours.
    ///
    /// # Errors
    /// #PF, or an exit of the page walk.
    pub(crate) fn is_device(&mut self, linear: u64, size: usize, privilege: Privilege) -> Result<bool, Stop> {
        let (first, second) = self.places(linear, size, AccessKind::Write, privilege)?;
        let host = |part: &Part| matches!(part.place, Place::Host { .. });
        Ok(!host(&first) || second.is_some_and(|second| !host(&second)))
    }

    /// As [`Cpu::compare_exchange`], for 16 bytes at an aligned address.
    ///
    /// # Errors
    /// #PF or an exit; nothing was written then.
    pub fn compare_exchange_16(
        &mut self,
        linear: u64,
        expected: u128,
        new: u128,
        privilege: Privilege,
    ) -> Result<u128, Stop> {
        let (first, _) = self.places(linear, 16, AccessKind::Write, privilege)?;
        if let Place::Host { address, page } = first.place {
            // SAFETY: the access lies in one page of guest memory that the space maps for writing; it is aligned.
            let replace = || unsafe { host::compare_exchange_16(address, expected, new) };
            return Ok(self.storing(&first, page, replace));
        }
        let mut bytes = [0; 16];
        self.read_bytes(linear, &mut bytes, privilege)?;
        let value = u128::from_le_bytes(bytes);
        let stored = if value == expected { new } else { value };
        self.write_bytes(linear, &stored.to_le_bytes(), privilege)?;
        Ok(value)
    }

    /// The page that code at a linear address is in, after all checks; `None` if it is not host memory.
    ///
    /// # Errors
    /// #PF, or a memory exit.
    pub(crate) fn translate_code(
        &mut self,
        linear: u64,
        privilege: Privilege,
    ) -> Result<Option<PhysicalPage>, Stop> {
        let part = self.place(linear, 1, AccessKind::Execute, privilege)?;
        match part.place {
            Place::Host { .. } => Ok(self.physical_page(part.gpa >> 12)),
            Place::Lent(_) => Ok(None),
            Place::Elsewhere(cause) => {
                self.ask(&part, 0, 1, MemoryAccessKind::Execute, cause, privilege)?;
                Ok(None)
            }
        }
    }

    /// Fetches instruction bytes from one page: up to the end of the page or of the buffer, whichever comes first. Gives their number.
    ///
    /// # Errors
    /// #PF, or a memory exit of kind `Execute`.
    pub(crate) fn fetch(&mut self, linear: u64, buffer: &mut [u8]) -> Result<usize, Stop> {
        let privilege = self.privilege();
        let size = buffer.len().min(bytes_to_page_end(linear));
        let part = self.place(linear, size, AccessKind::Execute, privilege)?;
        if let Place::Elsewhere(cause) = part.place {
            self.ask(&part, 0, size.min(8), MemoryAccessKind::Execute, cause, privilege)?;
        }
        self.read_part(&part, &mut buffer[..size], privilege)?;
        Ok(size)
    }
}

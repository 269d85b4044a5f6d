// SPDX-License-Identifier: MIT OR Apache-2.0
//! A saved virtual machine: its files, processors and memory together.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use x86::control::{Cr4, Efer};

use crate::container::{Container, Format, Value};
use crate::error::{Error, Mismatch, Result};
use crate::guest_os::GuestOsId;
use crate::memory::Memory;
use crate::paging::{self, PagingMode, Translation};
use crate::partition::{MOST_STATE, PartitionState, Register, RegisterValue, Vendor};
use crate::source::{FileSource, Source, open_regular};

/// Architecture of a processor. Numbers are those of the saved-state API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Architecture {
    /// x86 outside long mode.
    X86 = 1,
    /// x86 in long mode.
    X64 = 2,
    /// ARM64.
    Armv8 = 3,
}

impl Architecture {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X64 => "x64",
            Self::Armv8 => "ARM64",
        }
    }
}

/// What a guest said about its crash, through the crash MSRs (TLFS 2.6.1 and chapter 2's crash enlightenment).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashInfo {
    /// HV_X64_MSR_CRASH_P0 to P4: for Windows the bug check code and its parameters.
    pub parameters: [u64; 5],
}

/// How a processor is looked at; what is `None` is as it was saved.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    vp: u32,
    vtl: Option<u8>,
    paging: Option<PagingMode>,
    architecture: Option<Architecture>,
    host_mode: bool,
}

/// A saved virtual machine, open for reading. Its files are never written to. Reading is possible from many threads at once.
#[derive(Debug)]
pub struct SavedState {
    files: Vec<PathBuf>,
    state: Arc<Container>,
    memory: Memory,
    partition: PartitionState,
    version: u32,
    /// One for each processor, by index.
    looks: Vec<Look>,
}

/// Prefixes of the keys of virtual machines above version 5.0 and up to it.
const PREFIXES: [&str; 2] = ["savedstate/", ""];

impl SavedState {
    /// Opens a .vmrs file, or a .bin or .vsv file whose other half lies beside it. Contents decide what a file is, not its name.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::OtherHalf`], and whatever is wrong with the files.
    pub fn open(path: &Path) -> Result<Self> {
        let container = open_container(path)?;
        if container.format() == Format::HyperVStorage {
            let container = Arc::new(container);
            return Ok(Self { files: vec![path.into()], ..Self::new(Arc::clone(&container), container)? });
        }
        let has_state =
            PREFIXES.iter().any(|prefix| container.find(&format!("{prefix}{PARTITION_STATE}")).is_some());
        let (half, wanted) = if has_state {
            ("the devices and processors", "the .bin file with the memory")
        } else {
            ("the memory", "the .vsv file with the devices and processors")
        };
        let other = sibling(path).ok_or_else(|| Error::OtherHalf { path: path.into(), half, wanted })?;
        if has_state { Self::open_pair(&other, path) } else { Self::open_pair(path, &other) }
    }

    /// Opens a .bin and .vsv pair, in this order.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_pair(bin: &Path, vsv: &Path) -> Result<Self> {
        let memory = Arc::new(open_container(bin)?);
        let state = Arc::new(open_container(vsv)?);
        Ok(Self { files: vec![bin.into(), vsv.into()], ..Self::new(state, memory)? })
    }

    /// Reads a .vmrs file from any source.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn from_source(source: Box<dyn Source>) -> Result<Self> {
        let container = Arc::new(Container::open(source)?);
        Self::new(Arc::clone(&container), container)
    }

    /// Puts a saved state together from the container of devices and processors and that of memory.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::BadValue`], [`Error::UnknownVersion`], [`Error::NotOnePair`], and what is wrong with processors and memory.
    pub fn new(state: Arc<Container>, contents: Arc<Container>) -> Result<Self> {
        let version = version(&state)?;
        let path = |prefix: &&str| format!("{prefix}{PARTITION_STATE}");
        let key = PREFIXES.iter().find_map(|prefix| state.find(&path(prefix)));
        let key = key.ok_or_else(|| Error::MissingKey { key: path(&PREFIXES[0]) })?;
        let partition = PartitionState::parse(state.read_array(key, MOST_STATE)?)?;
        let memory = Memory::open(&state, Arc::clone(&contents))?;
        if !Arc::ptr_eq(&state, &contents) {
            check_pair(&state, &contents, &memory)?;
        }
        let looks = partition.vp_indices().map(|vp| Look { vp, ..Look::default() }).collect();
        Ok(Self { files: Vec::new(), state, memory, partition, version, looks })
    }

    /// The files it was opened from; none if it came from elsewhere.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Version of the virtual machine: major in bits 15:8, minor in 7:0.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The container of devices and processors, with all its keys.
    pub fn container(&self) -> &Container {
        &self.state
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The virtual processors.
    pub fn partition(&self) -> &PartitionState {
        &self.partition
    }

    /// Number of virtual processors.
    pub fn vp_count(&self) -> u32 {
        self.partition.vp_count()
    }

    /// The value of a key below `savedstate/`, or, in older files, at the top.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::TooLarge`].
    pub fn property(&self, name: &str) -> Result<Option<Value>> {
        let key = PREFIXES.iter().find_map(|prefix| self.state.find(&format!("{prefix}{name}")));
        key.map(|key| self.state.value(key)).transpose()
    }

    /// What the guest said about its crash; `None` if it did not crash.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadValue`].
    pub fn crash(&self) -> Result<Option<CrashInfo>> {
        const NAME: &str = "savedVM/guest_crash_msrs";
        let Some(key) = PREFIXES.iter().find_map(|prefix| self.state.find(&format!("{prefix}{NAME}"))) else {
            return Ok(None);
        };
        let bytes = self.state.read_array(key, 4096)?;
        let (words, _) = bytes.as_chunks::<8>();
        let words: &[[u8; 8]; 5] = words.first_chunk().ok_or_else(|| Error::BadValue {
            key: NAME.into(),
            expected: "an array of five 64-bit values",
        })?;
        let parameters = words.map(u64::from_le_bytes);
        Ok((parameters != [0; 5]).then_some(CrashInfo { parameters }))
    }

    /// The identity that the operating system of a VTL gave itself.
    pub fn guest_os(&self, vtl: u8) -> GuestOsId {
        GuestOsId(self.partition.guest_os_id(vtl))
    }

    /// Architecture of a processor: what it is set to, or else what EFER.LMA says.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoRegister`].
    pub fn architecture(&self, vp: u32) -> Result<Architecture> {
        if let Some(forced) = self.look(vp)?.architecture {
            return Ok(forced);
        }
        if self.partition.vendor() == Vendor::Arm {
            return Ok(Architecture::Armv8);
        }
        let long = Efer::from_bits(self.value(vp, Register::EFER)?).lma();
        Ok(if long { Architecture::X64 } else { Architecture::X86 })
    }

    /// Sets how a processor is looked at.
    ///
    /// # Errors
    /// [`Error::NoVp`].
    pub fn force_architecture(&mut self, vp: u32, architecture: Option<Architecture>) -> Result<()> {
        self.look_mut(vp)?.architecture = architecture;
        Ok(())
    }

    /// Paging mode of a processor: what it is set to, or else what EFER.LMA and CR4.PAE say. As in Microsoft's reader CR0.PG is not asked, so a processor
    /// with paging off has 32-bit paging.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoRegister`].
    pub fn paging_mode(&self, vp: u32) -> Result<PagingMode> {
        if let Some(forced) = self.look(vp)?.paging {
            return Ok(forced);
        }
        match self.architecture(vp)? {
            Architecture::Armv8 => Ok(PagingMode::Armv8),
            _ => Ok(self.paging_registers(vp)?.mode()),
        }
    }

    /// Sets how the addresses of a processor are translated; `None` as it was saved.
    ///
    /// # Errors
    /// [`Error::NoVp`]; [`Error::WrongPagingMode`] if an x86 mode is asked for on ARM64 or the reverse.
    pub fn force_paging_mode(&mut self, vp: u32, mode: Option<PagingMode>) -> Result<()> {
        let architecture = self.architecture(vp)?;
        if let Some(mode) = mode
            && (mode == PagingMode::Armv8) != (architecture == Architecture::Armv8)
        {
            return Err(Error::WrongPagingMode { mode, architecture: architecture.name() });
        }
        self.look_mut(vp)?.paging = mode;
        Ok(())
    }

    /// The VTL a processor is looked at in: what it is set to, or else the one it was in.
    ///
    /// # Errors
    /// [`Error::NoVp`].
    pub fn active_vtl(&self, vp: u32) -> Result<u8> {
        match self.look(vp)?.vtl {
            Some(vtl) => Ok(vtl),
            None => self.partition.active_vtl(vp),
        }
    }

    /// Looks at a processor in another VTL; `None` in the one it was in.
    ///
    /// # Errors
    /// [`Error::NoVp`]; [`Error::NoVtl`] if that VTL is not enabled on it.
    pub fn force_active_vtl(&mut self, vp: u32, vtl: Option<u8>) -> Result<()> {
        let enabled = self.partition.enabled_vtls_of(vp)?;
        if let Some(vtl) = vtl
            && enabled & 1_u32.checked_shl(vtl.into()).unwrap_or(0) == 0
        {
            return Err(Error::NoVtl { vp, vtl });
        }
        self.look_mut(vp)?.vtl = vtl;
        Ok(())
    }

    /// Whether a processor of a guest that runs a hypervisor is looked at as that hypervisor (true) or as whatever was running.
    ///
    /// # Errors
    /// [`Error::NoVp`].
    pub fn nested_host_mode(&self, vp: u32) -> Result<bool> {
        Ok(self.look(vp)?.host_mode)
    }

    /// Looks at a processor as the guest's own hypervisor, or as whatever was running, and gives what was set before. Without a nested
    /// hypervisor both are the same.
    ///
    /// # Errors
    /// [`Error::NoVp`]; [`Error::Unsupported`] if the guest ran a hypervisor: how its own state is saved is described nowhere.
    pub fn force_nested_host_mode(&mut self, vp: u32, host_mode: bool) -> Result<bool> {
        let before = self.look(vp)?.host_mode;
        if self.partition.is_nested() && host_mode {
            return Err(Error::Unsupported("the layout of saved nested virtualization state is not known"));
        }
        self.look_mut(vp)?.host_mode = host_mode;
        Ok(before)
    }

    /// A register of a processor in the VTL it is looked at in.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoRegister`].
    pub fn register(&self, vp: u32, register: Register) -> Result<RegisterValue> {
        self.partition.register(vp, self.active_vtl(vp)?, register)
    }

    /// Whether a processor was at kernel privilege.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoRegister`].
    pub fn in_kernel_space(&self, vp: u32) -> Result<bool> {
        if self.architecture(vp)? == Architecture::Armv8 {
            // PSTATE.M[3:2] is the exception level.
            let cpsr =
                Register::from_name("cpsr").ok_or(Error::NoVp { index: vp, count: self.vp_count() })?;
            return Ok(self.value(vp, cpsr)? >> 2 & 3 != 0);
        }
        Ok(self.partition.privilege_level(vp, self.active_vtl(vp)?)? == 0)
    }

    /// Translates a guest-virtual address by the page tables of a processor.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoRegister`], [`Error::NotMapped`]; [`Error::Unsupported`] for ARM64.
    pub fn translate(&self, vp: u32, gva: u64) -> Result<Translation> {
        let mode = self.paging_mode(vp)?;
        if mode == PagingMode::Armv8 {
            return Err(Error::Unsupported("addresses of ARM64 guests cannot be translated"));
        }
        paging::translate(&self.memory, &self.paging_registers(vp)?, mode, gva)
    }

    /// Reads from guest-virtual address `gva` on, and gives the number of bytes that were read: fewer than asked for where a page is not mapped
    /// or is no saved memory.
    ///
    /// # Errors
    /// As [`translate`](Self::translate) and [`Memory::read`] if the first byte cannot be read.
    pub fn read_virtual(&self, vp: u32, gva: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let read = (|| {
                let found = self.translate(vp, gva.wrapping_add(done as u64))?;
                let in_page = found.page_size - found.gpa % found.page_size;
                let size = in_page.min((buffer.len() - done) as u64) as usize;
                self.memory.read(found.gpa, &mut buffer[done..done + size])
            })();
            match read {
                Ok(size) => done += size,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Makes every later read find `bytes` at a guest-virtual address. The files stay as they are.
    ///
    /// # Errors
    /// As [`translate`](Self::translate) and [`Memory::read`]; then nothing has changed.
    pub fn fix_memory(&mut self, vp: u32, gva: u64, bytes: &[u8]) -> Result<()> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < bytes.len() {
            let found = self.translate(vp, gva.wrapping_add(done as u64))?;
            let size =
                (found.page_size - found.gpa % found.page_size).min((bytes.len() - done) as u64) as usize;
            self.memory.read_exact(found.gpa, &mut vec![0; size])?;
            pieces.push((found.gpa, done..done + size));
            done += size;
        }
        pieces.into_iter().try_for_each(|(gpa, range)| self.memory.fix(gpa, &bytes[range]))
    }

    fn paging_registers(&self, vp: u32) -> Result<paging::Registers> {
        Ok(paging::Registers {
            cr3: self.value(vp, Register::CR3)?,
            cr4: Cr4::from_bits(self.value(vp, Register::CR4)?),
            efer: Efer::from_bits(self.value(vp, Register::EFER)?),
        })
    }

    fn value(&self, vp: u32, register: Register) -> Result<u64> {
        self.register(vp, register).map(RegisterValue::low64)
    }

    fn look(&self, vp: u32) -> Result<&Look> {
        let found = self.looks.binary_search_by_key(&vp, |look| look.vp);
        found.map(|found| &self.looks[found]).map_err(|_| Error::NoVp { index: vp, count: self.vp_count() })
    }

    fn look_mut(&mut self, vp: u32) -> Result<&mut Look> {
        let count = self.vp_count();
        let found = self.looks.binary_search_by_key(&vp, |look| look.vp);
        found.map(|found| &mut self.looks[found]).map_err(|_| Error::NoVp { index: vp, count })
    }
}

/// The key of the processors, without a prefix.
pub(crate) const PARTITION_STATE: &str = "savedVM/partition_state";

/// The version of the virtual machine. A flat table has it in its header, and no key for it.
fn version(state: &Container) -> Result<u32> {
    /// The first version whose memory and processors are saved as is known.
    const FIRST: i64 = 0x0101;
    const KEYS: [&str; 2] = ["savedstate/VmVersion", "configuration/properties/version"];
    let mut versions = Vec::new();
    for name in KEYS {
        let Some(key) = state.find(name) else { continue };
        match state.value(key)? {
            Value::Int(version) => versions.push(version),
            _ => return Err(Error::BadValue { key: name.into(), expected: "a number" }),
        }
    }
    if state.format() == Format::Flat && versions.is_empty() {
        versions.push(state.version().into());
    }
    match versions[..] {
        [] => Err(Error::MissingKey { key: KEYS[0].into() }),
        [first, second] if first != second => Err(Error::BadValue {
            key: KEYS[0].into(),
            expected: "equal to configuration/properties/version",
        }),
        [version, ..] => match u32::try_from(version) {
            Ok(known) if version >= FIRST => Ok(known),
            _ => Err(Error::UnknownVersion { what: "the virtual machine", version: version as u64 }),
        },
    }
}

/// Refuses two files that cannot be of one save. Nothing in the memory's file names the machine or the time, so two saves with equally much memory
/// look like a pair.
fn check_pair(state: &Container, contents: &Container, memory: &Memory) -> Result<()> {
    if state.version() != contents.version() {
        return Err(Error::NotOnePair(Mismatch::Versions(state.version(), contents.version())));
    }
    match memory.census().first_extra {
        Some(block) => Err(Error::NotOnePair(Mismatch::ExtraBlock(block))),
        None => Ok(()),
    }
}

fn open_container(path: &Path) -> Result<Container> {
    let open = |source| Error::Open { path: path.into(), source };
    let file = open_regular(path, File::options().read(true))?;
    Container::open(Box::new(FileSource::new(file).map_err(open)?))
}

/// The other .bin or .vsv file with the same name, whatever the case of its extension.
fn sibling(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let matches = |entry: &PathBuf| {
        let is_half =
            |extension: &OsStr| ["bin", "vsv"].iter().any(|half| extension.eq_ignore_ascii_case(half));
        entry.file_name() != path.file_name()
            && entry.file_stem() == path.file_stem()
            && entry.extension().is_some_and(is_half)
    };
    entries.filter(matches).min()
}
